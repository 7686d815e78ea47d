//! Which `a=crypto` line is taken. RFC 4568 §§5–7, RFC 7714 §14.2.

use crate::attribute::Crypto;

/// The offered line to take and this side's line to answer with: the first offered one whose suite this side has a key for.
/// RFC 4568 §5.1.2: its tag and suite, and a key of this side.
pub(crate) fn select(offered: &[Crypto], ours: &[Crypto]) -> Option<(Crypto, Crypto)> {
    offered.iter().filter(|line| is_usable(line)).find_map(|theirs| {
        let mine = ours.iter().find(|mine| mine.suite.eq_ignore_ascii_case(&theirs.suite))?;
        Some((Crypto { tag: theirs.tag, suite: theirs.suite.clone(), ..mine.clone() }, theirs.clone()))
    })
}

/// This side's offered line that an answer took: exactly one line, with tag and suite of one offered. RFC 4568 §5.1.3.
pub(crate) fn accepted<'a>(answered: &[Crypto], offered: &'a [Crypto]) -> Option<&'a Crypto> {
    let [theirs] = answered else { return None };
    let same = |mine: &&Crypto| mine.tag == theirs.tag && mine.suite.eq_ignore_ascii_case(&theirs.suite);
    offered.iter().find(same).filter(|_| is_usable(theirs))
}

/// Whether one encrypts with the other's key: RFC 4568 §7.1.2 wants different ones.
pub(crate) fn share_a_key(one: &Crypto, other: &Crypto) -> bool {
    one.key_params.iter().any(|key| other.key_params.iter().any(|theirs| theirs.key_salt == key.key_salt))
}

/// A key as long as its suite wants, and no session parameter that this side must understand and does not. Those that leave
/// out encryption or authentication are never understood.
pub(crate) fn is_usable(line: &Crypto) -> bool {
    let length = match line.suite.to_ascii_uppercase().as_str() {
        "AES_CM_128_HMAC_SHA1_80" | "AES_CM_128_HMAC_SHA1_32" | "F8_128_HMAC_SHA1_80" => Some(16 + 14),
        "AES_192_CM_HMAC_SHA1_80" | "AES_192_CM_HMAC_SHA1_32" => Some(24 + 14), // RFC 6188 §2
        "AES_256_CM_HMAC_SHA1_80" | "AES_256_CM_HMAC_SHA1_32" => Some(32 + 14),
        "AEAD_AES_128_GCM" => Some(16 + 12), // RFC 7714 §12
        "AEAD_AES_256_GCM" => Some(32 + 12),
        _ => None,
    };
    let fits = |length: usize| line.key_params.iter().all(|key| key.key_salt.len() == length);
    // A leading "-" says that a parameter may be ignored (RFC 4568 §6.3.7); WSH is a hint (§6.3.6).
    let optional = |param: &str| param.starts_with('-') || param.to_ascii_uppercase().starts_with("WSH=");
    length.is_none_or(fits) && line.session_params.iter().all(|param| optional(param))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::KeyParam;

    fn line(tag: u32, suite: &str, key: u8, params: &[&str]) -> Crypto {
        Crypto {
            tag,
            suite: suite.into(),
            key_params: vec![KeyParam::new(vec![key; 30])],
            session_params: params.iter().map(|param| Box::from(*param)).collect(),
        }
    }

    #[test]
    fn takes_the_first_offered_suite_it_has_a_key_for() {
        let offered = [
            line(1, "F8_128_HMAC_SHA1_80", 1, &[]),
            line(7, "AES_CM_128_HMAC_SHA1_32", 2, &[]),
            line(3, "AES_CM_128_HMAC_SHA1_80", 3, &[]),
        ];
        let ours = [line(1, "AES_CM_128_HMAC_SHA1_80", 8, &[]), line(2, "AES_CM_128_HMAC_SHA1_32", 9, &[])];
        let (mine, theirs) = select(&offered, &ours).unwrap();
        assert_eq!((mine.tag, &*mine.suite, mine.key_params[0].key_salt[0]), (7, "AES_CM_128_HMAC_SHA1_32", 9));
        assert_eq!(theirs, offered[1]);
    }

    #[test]
    fn never_takes_a_line_that_leaves_out_protection() {
        let ours = [line(1, "AES_CM_128_HMAC_SHA1_80", 8, &[])];
        for weak in ["UNENCRYPTED_SRTP", "UNENCRYPTED_SRTCP", "UNAUTHENTICATED_SRTP", "KDR=3", "FEC_ORDER=FEC_SRTP"] {
            assert_eq!(select(&[line(1, "AES_CM_128_HMAC_SHA1_80", 1, &[weak])], &ours), None, "{weak}");
        }
        assert!(select(&[line(1, "AES_CM_128_HMAC_SHA1_80", 1, &["WSH=128", "-X"])], &ours).is_some());
    }

    #[test]
    fn refuses_keys_of_the_wrong_length() {
        assert!(!is_usable(&line(1, "AEAD_AES_256_GCM", 1, &[])));
        assert!(is_usable(&line(1, "AES_CM_128_HMAC_SHA1_80", 1, &[])));
    }

    #[test]
    fn an_answer_has_exactly_one_line_with_an_offered_tag_and_suite() {
        let offered = [line(1, "AES_CM_128_HMAC_SHA1_80", 8, &[]), line(2, "AES_CM_128_HMAC_SHA1_32", 9, &[])];
        let answer = |tag, suite| [line(tag, suite, 1, &[])];
        assert_eq!(accepted(&answer(2, "AES_CM_128_HMAC_SHA1_32"), &offered), Some(&offered[1]));
        assert_eq!(accepted(&answer(2, "AES_CM_128_HMAC_SHA1_80"), &offered), None);
        assert_eq!(accepted(&answer(3, "AES_CM_128_HMAC_SHA1_80"), &offered), None);
        assert_eq!(accepted(&[], &offered), None);
        assert_eq!(accepted(&offered, &offered), None);
    }
}
