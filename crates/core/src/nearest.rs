//! What was probably meant by a name that does not exist.

/// Longer texts are no slip of the fingers; comparing takes time that grows with their length.
const LETTERS_MAX: usize = 64;

/// The candidate that differs by the fewest letters, if these are few enough for a slip of the fingers.
#[must_use]
pub fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let text: String = text.chars().take(LETTERS_MAX).collect();
    let text = text.to_lowercase();
    let near = candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&text, candidate), candidate));
    let near = near.filter(|(letters, candidate)| *letters <= candidate.len().max(3) / 3);
    near.min().map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_fingers_is_understood_and_another_word_is_not() {
        let near = |text| nearest(text, ["shop", "shop-worker", "blog"]);
        assert_eq!(near("shpo"), Some("shop"));
        assert_eq!(near("Shop"), Some("shop"));
        assert_eq!(near("shop-wroker"), Some("shop-worker"));
        assert_eq!(near("bolg"), Some("blog"));
        assert_eq!(near("api"), None);
        assert_eq!(nearest("worker", ["workers", "worker"]), Some("worker"));
        assert_eq!(near(&"x".repeat(1_000_000)), None);
    }
}
