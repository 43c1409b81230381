//! "Did you mean": the nearest known word to a mistyped one.

/// Letters by which a name of somebody's own may be a slip.
const SLIP_MAX: usize = 2;

/// The nearest of `known` to `typed`, when it is near enough to be a slip.
pub(crate) fn nearest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let reach = (typed.len() / 3).max(1);
    known
        .map(|word| (distance(&normal(typed), &normal(word)), word))
        .filter(|(distance, _)| *distance <= reach)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// The one of `known` that a new name of somebody's own may be a slip of: a letter or two away, and
/// not that word with something added.
pub(crate) fn slip_of<'a>(typed: &str, known: &[&'a str]) -> Option<&'a str> {
    if known.iter().any(|word| typed.contains(word)) {
        return None;
    }
    let is_near = |word: &&&str| distance(&normal(typed), &normal(word)) <= SLIP_MAX;
    known.iter().find(is_near).copied()
}

fn normal(word: &str) -> Vec<char> {
    word.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

/// Edit distance with swapped neighbours counted once.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, right) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(left != right);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *right && *left == b[j - 1] {
                let swapped: &Vec<usize> = &before_last;
                best = best.min(swapped[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_ones_own_is_a_slip_only_when_it_is_very_near() {
        let known = ["production", "staging", "development"];
        let slip = |typed| slip_of(typed, &known);
        assert_eq!(slip("prodution"), Some("production"));
        assert_eq!(slip("stagign"), Some("staging"));
        for own in ["production", "production-eu", "staging2", "stage", "testing", "dev", "prod"] {
            assert_eq!(slip(own), None, "{own}");
        }
    }

    #[test]
    fn finds_slips_and_nothing_else() {
        let known = ["listen", "console", "trusted_proxies"];
        assert_eq!(nearest("listn", known.into_iter()), Some("listen"));
        assert_eq!(nearest("lisetn", known.into_iter()), Some("listen"));
        assert_eq!(nearest("trusted-proxies", known.into_iter()), Some("trusted_proxies"));
        assert_eq!(nearest("tls", known.into_iter()), None);
    }
}
