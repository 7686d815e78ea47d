//! Which sections share a transport, and which of them is the tagged one, whose transport it is. RFC 9143 §7.

use super::remote::Remote;

/// The bundles of this side's offer. `former` are those in use, tagged section first; `joins` says which sections want to be
/// in one, `carries` which of them have a transport of their own to offer.
///
/// RFC 9143 §7.5: those in use go on, less what left, plus what is new; the tagged section stays if it can. A bundle of
/// which nobody has a transport is not made.
pub(crate) fn offered(
    count: usize,
    former: &[Vec<usize>],
    begin: bool,
    joins: impl Fn(usize) -> bool,
    carries: impl Fn(usize) -> bool,
) -> Vec<Vec<usize>> {
    let mut bundles: Vec<Vec<usize>> = former
        .iter()
        .map(|members| members.iter().copied().filter(|index| joins(*index)).collect::<Vec<_>>())
        .filter(|members| members.iter().any(|index| carries(*index)))
        .collect();
    let is_in = |bundles: &[Vec<usize>], index: usize| bundles.iter().any(|members| members.contains(&index));
    let new: Vec<usize> = (0..count).filter(|index| joins(*index) && !is_in(&bundles, *index)).collect();
    match bundles.first_mut() {
        Some(first) => first.extend(new),
        None if begin && new.iter().any(|index| carries(*index)) => bundles.push(new),
        None => {}
    }
    for members in &mut bundles {
        // RFC 9143 §7.2.1: never tag one without a transport.
        if let Some(place) = members.iter().position(|index| carries(*index)) {
            members[..=place].rotate_right(1);
        }
    }
    bundles
}

/// The bundles of this side's answer, each with the tagged section first. RFC 9143 §7.3.
///
/// `accepts` says which sections are accepted and may be bundled, `fits` whether the second can use the transport of the
/// first. The offer's tagged section is tagged unless it is not accepted; then the next one in an initial bundle
/// (§7.3.1), and none in one that is in use (§7.3.3).
pub(crate) fn answered(
    offer: &Remote,
    former: &[Vec<usize>],
    accepts: impl Fn(usize) -> bool,
    can_be_tagged: impl Fn(usize) -> bool,
    fits: impl Fn(usize, usize) -> bool,
) -> Vec<Vec<usize>> {
    let mut bundles = Vec::new();
    for offered in &offer.bundles {
        let in_use = is_in_use(offered, former);
        let can = |index: usize| accepts(index) && can_be_tagged(index) && !offer.media[index].bundle_only;
        let tagged = match in_use {
            true => offered.first().copied().filter(|index| can(*index)),
            false => offered.iter().copied().find(|index| can(*index)),
        };
        let Some(tagged) = tagged else { continue };
        let rest = offered.iter().copied().filter(|index| *index != tagged && accepts(*index) && fits(tagged, *index));
        bundles.push([tagged].into_iter().chain(rest).collect());
    }
    bundles
}

/// Whether an offered bundle goes on from one that was agreed: they have a section in common.
pub(crate) fn is_in_use(offered: &[usize], former: &[Vec<usize>]) -> bool {
    offered.iter().any(|index| former.iter().any(|members| members.contains(index)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_tags_the_first_section_with_a_transport() {
        assert_eq!(offered(3, &[], true, |_| true, |index| index != 0), [vec![1, 0, 2]]);
        assert_eq!(offered(3, &[], false, |_| true, |_| true), [[0_usize; 0]; 0]);
        assert_eq!(offered(2, &[], true, |_| true, |_| false), [[0_usize; 0]; 0]);
    }

    #[test]
    fn an_offer_keeps_the_bundle_and_its_tag_and_adds_what_is_new() {
        assert_eq!(offered(4, &[vec![1, 0]], false, |index| index != 3, |_| true), [vec![1, 0, 2]]);
        assert_eq!(offered(3, &[vec![1, 0]], false, |index| index != 1, |_| true), [vec![0, 2]]);
    }
}
