//! CRC-32 as in zip and Ethernet, which some keys carry as their checksum.

const TABLE: [u32; 16] = {
    let mut table = [0; 16];
    let mut at = 0;
    while at < 16 {
        let mut value = at as u32;
        let mut bit = 0;
        while bit < 4 {
            value = if value & 1 == 1 { (value >> 1) ^ 0xedb8_8320 } else { value >> 1 };
            bit += 1;
        }
        table[at] = value;
        at += 1;
    }
    table
};

pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let half = |sum: u32, low: u32| (sum >> 4) ^ TABLE[((sum ^ low) & 15) as usize];
    let whole = |sum: u32, byte: &u8| half(half(sum, u32::from(*byte)), u32::from(*byte) >> 4);
    !bytes.iter().fold(!0, whole)
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_the_one_that_everybody_uses() {
        assert_eq!(super::crc32(b"123456789"), 0xcbf4_3926);
    }
}
