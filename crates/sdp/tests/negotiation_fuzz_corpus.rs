//! Replays the seeds of the fuzz target for offer and answer, and the whole corpus as offers and answers, each whole and with
//! bytes missing or changed, with the target's assertions.

#[path = "../../../fuzz/src/offer_answer.rs"]
mod offer_answer;
mod support;

#[test]
fn every_recording_is_an_offer_or_an_answer_to_every_kind_of_side() {
    for (_, bytes) in support::corpus() {
        for style in [0x08, 0x99, 0x52, 0x27, 0xbb] {
            let twice = [&[style], &bytes[..], &[0], &bytes[..]].concat();
            offer_answer::fuzz(&twice);
        }
    }
}

#[test]
fn recordings_with_a_line_missing_or_a_number_changed_keep_the_promises() {
    for (number, (_, bytes)) in support::corpus().into_iter().enumerate() {
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        for at in (number % 5..lines.len()).step_by(5) {
            let mut changed = lines.clone();
            let line = changed.remove(at);
            let other = line.iter().map(|byte| if byte.is_ascii_digit() { b'9' - (byte - b'0') } else { *byte });
            let other: Vec<u8> = other.collect();
            let style = [0x08, 0x99, 0x52, 0x27, 0xbb][at % 5];
            offer_answer::fuzz(&[&[style], &bytes[..], &[0], &changed.concat()[..]].concat());
            changed.insert(at, &other);
            offer_answer::fuzz(&[&[style], &changed.concat()[..], &[0], &bytes[..]].concat());
        }
    }
}

#[test]
fn seeds_of_the_fuzz_target_keep_the_promises() {
    let folder = format!("{}/../../fuzz/corpus/offer_answer", env!("CARGO_MANIFEST_DIR"));
    let seeds = std::fs::read_dir(folder).expect("the corpus is part of the repository");
    assert!(seeds.map(|seed| offer_answer::fuzz(&std::fs::read(seed.unwrap().path()).unwrap())).count() > 5);
}
