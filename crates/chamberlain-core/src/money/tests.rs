use proptest::prelude::*;

use super::*;

#[test]
fn parses_what_people_write() {
    assert_eq!("25".parse(), Ok(Money::from_usd(25)));
    assert_eq!("$25.00".parse(), Ok(Money::from_usd(25)));
    assert_eq!("25.00 USD".parse(), Ok(Money::from_usd(25)));
    assert_eq!("0.000000005".parse(), Ok(Money::from_pico(5_000)));
}

#[test]
fn refuses_what_is_not_an_amount() {
    for text in ["", "-1", "1e3", "1.", ".5", "1,000", "NaN", "$", "0.0000000000001"] {
        assert!(text.parse::<Money>().is_err(), "{text:?} was taken");
    }
    assert!("9".repeat(40).parse::<Money>().is_err());
}

#[test]
fn shows_something_for_the_smallest_amount() {
    assert_eq!(Money::from_pico(1).to_display(), "$0.000001");
    assert_eq!(Money::ZERO.to_display(), "$0.00");
    assert_eq!(Money::from_pico(8_879_200_000).to_display(), "$0.00888");
    assert_eq!(Money::from_usd(1234).to_display(), "$1234.00");
    assert_eq!(Money::from_pico(8_879_200_000).to_decimal(), "0.0088792");
}

#[test]
fn share_is_rounded_down() {
    let whole = Money::from_usd(100);
    assert_eq!(Money::from_pico(PICO_PER_USD * 75 - 1).basis_points_of(whole), Some(7_499));
    assert_eq!(Money::from_usd(75).basis_points_of(whole), Some(7_500));
    assert_eq!(Money::from_usd(1).basis_points_of(Money::ZERO), None);
}

proptest! {
    #[test]
    fn decimal_text_is_exact(pico in 0i128..10_000_000_000_000_000_000) {
        let money = Money::from_pico(pico);
        prop_assert_eq!(money.to_decimal().parse::<Money>(), Ok(money));
    }
}
