use std::fs::Permissions;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::testing::{Seeded, leaks, secret};

fn key_of(master: &Master) -> [u8; 32] {
    *master.root(None).unwrap().unwrap()
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("master.key");
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    (folder, path)
}

/// A passphrase with settings that take no time.
fn quick(salt: &str) -> Stretch {
    Stretch { salt: salt.into(), memory_kib: 64, passes: 1, lanes: 1 }
}

#[test]
fn a_generated_key_is_read_back_and_is_random() {
    let entropy = Seeded::new(1);
    let (one, other) = (Master::generate(&entropy), Master::generate(&entropy));
    assert_eq!(one.expose().len(), 54);
    let read = |text: &Secret| key_of(&Master::from_text(text).unwrap());
    assert_eq!(read(&one), read(&one));
    assert_ne!(read(&one), read(&other));
}

proptest! {
    #[test]
    fn every_form_gives_the_same_key(bytes in any::<[u8; 32]>()) {
        let own = format!("chm_master_{}", URL_SAFE_NO_PAD.encode(bytes));
        for text in [own, hex_of(&bytes), hex_of(&bytes).to_uppercase(), STANDARD.encode(bytes)] {
            let spaced = secret(&format!("\n {text}\r\n"));
            prop_assert_eq!(key_of(&Master::from_text(&spaced).unwrap()), bytes);
        }
    }

    #[test]
    fn any_other_text_is_refused_without_repeating_it(text in "\\PC{6,80}") {
        if let Err(error) = Master::from_text(&secret(&text)) {
            let printed = format!("{error} {error:?}");
            prop_assert!(!printed.contains(&text), "{}", printed);
        }
    }
}

#[test]
fn what_is_no_key_is_refused() {
    let good = hex_of(&[1, 2, 3, 4].repeat(8));
    for bad in [
        "".to_owned(),
        "password".into(),
        "chm_master_".into(),
        format!("chm_master_{good}"),
        good[..62].into(),
        format!("{good}00"),
        good.replace("01", "0g"),
        good.replace("01", "é"),
        STANDARD.encode([5; 31]),
        STANDARD.encode([5; 33]),
        "A".repeat(4000),
    ] {
        assert!(matches!(Master::from_text(&secret(&bad)), Err(MasterError::Form)), "{bad}");
    }
    let error = Master::from_text(&secret(&"00".repeat(32))).unwrap_err();
    assert!(matches!(error, MasterError::NotRandom));
}

#[test]
fn a_file_is_read_only_when_nobody_else_may() {
    let text = Master::generate(&Seeded::new(2));
    for mode in [0o600, 0o400] {
        let (_folder, path) = file(text.expose().as_bytes(), mode);
        let master = Master::from_file(&path).unwrap();
        assert_eq!(key_of(&master), key_of(&Master::from_text(&text).unwrap()));
    }
    for mode in [0o640, 0o604, 0o644, 0o610, 0o602] {
        let (_folder, path) = file(text.expose().as_bytes(), mode);
        let error = Master::from_file(&path).unwrap_err().to_string();
        let expected = format!("(mode {mode:o}): run chmod 600 {}", path.display());
        assert!(error.contains(&expected), "{error}");
        assert!(!leaks(&error, text.expose()));
    }
}

#[test]
fn a_credential_may_be_readable_for_a_group_but_not_for_all() {
    let text = Master::generate(&Seeded::new(2));
    let (_folder, path) = file(text.expose().as_bytes(), 0o440);
    assert!(Master::from_credential(&path).is_ok());
    let (_folder, path) = file(text.expose().as_bytes(), 0o444);
    assert!(matches!(Master::from_credential(&path), Err(MasterError::Readable { .. })));
}

#[test]
fn other_files_are_refused() {
    let (folder, _path) = file(b"", 0o600);
    assert!(matches!(Master::from_file(folder.path()), Err(MasterError::NotAFile(_))));
    let missing = Master::from_file(&folder.path().join("none")).unwrap_err();
    assert!(missing.to_string().starts_with("there is no master key file at "), "{missing}");
    assert!(matches!(Master::from_file(Path::new("/dev/null")), Err(MasterError::NotAFile(_))));
    for content in [vec![b'a'; 5000], vec![0xff; 32], Vec::new()] {
        let (_folder, path) = file(&content, 0o600);
        assert!(matches!(Master::from_file(&path), Err(MasterError::Form)));
    }
}

#[test]
fn a_passphrase_makes_the_same_key_again() {
    let master = |text: &str| Master::from_passphrase(&secret(text)).unwrap();
    let key = |text: &str, stretch: &Stretch| *master(text).root(Some(stretch)).unwrap().unwrap();
    let salt = STANDARD.encode([1; 16]);
    let text = "five good words in a row";
    assert_eq!(key(text, &quick(&salt)), key(&format!("{text}\r\n"), &quick(&salt)));
    assert_ne!(key(text, &quick(&salt)), key(&format!("{text} "), &quick(&salt)));
    assert_ne!(key(text, &quick(&salt)), key(text, &quick(&STANDARD.encode([2; 16]))));
    assert_ne!(key(text, &quick(&salt)), key(text, &Stretch { passes: 2, ..quick(&salt) }));
    // Pinned: another result would lock every vault with a passphrase.
    assert_eq!(
        hex_of(&key(text, &quick(&salt))),
        "ff889321a9484fad7611adda6c7bc4613d21d047bc2da1fd8579c407acbd16c9"
    );
    let fresh = master(text).new_stretch(&Seeded::new(1)).unwrap();
    assert_ne!(fresh.salt, master(text).new_stretch(&Seeded::new(2)).unwrap().salt);
    assert_eq!((fresh.memory_kib, fresh.passes, fresh.lanes), (65536, 3, 4));
}

#[test]
fn a_weak_passphrase_or_absurd_settings_are_refused() {
    for text in ["", "hunter2", "           x", "elevenchars", "\n\n\n\n\n\n\n\n\n\n\n\n\n\n"] {
        let error = Master::from_passphrase(&secret(text)).unwrap_err();
        assert!(matches!(error, MasterError::ShortPassphrase), "{text:?}");
    }
    let master = Master::from_passphrase(&secret("twelve chars")).unwrap();
    let salt = STANDARD.encode([1; 16]);
    for stretch in [
        Stretch { memory_kib: 1 << 30, ..quick(&salt) },
        Stretch { memory_kib: 0, ..quick(&salt) },
        Stretch { passes: 17, ..quick(&salt) },
        Stretch { passes: 0, ..quick(&salt) },
        Stretch { lanes: 17, ..quick(&salt) },
        quick("not base64"),
        quick(""),
    ] {
        let error = master.root(Some(&stretch)).unwrap().unwrap_err();
        assert!(matches!(error, MasterError::Passphrase(_)), "{stretch:?}");
    }
}

#[test]
fn a_key_needs_no_settings_and_a_passphrase_does() {
    let key = Master::from_text(&Master::generate(&Seeded::new(3))).unwrap();
    let passphrase = Master::from_passphrase(&secret("twelve chars")).unwrap();
    assert!(key.root(Some(&quick("AAAA"))).is_none() && key.new_stretch(&Seeded::new(1)).is_none());
    assert!(passphrase.root(None).is_none());
    for master in [key, passphrase] {
        assert_eq!(format!("{master:?} {master:#?}"), "[master key] [master key]");
    }
}
