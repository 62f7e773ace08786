//! What stands in the journal for good: a change of these texts is a change for every reader.

use super::*;

#[test]
fn effects_are_written_as_ever() {
    let mut rig = Rig::new("h 80");
    rig.step("0s", "81.5");
    rig.step("1s", "ack");
    rig.apply(moment("2s"), Input::Command(&command("reset", 1)));
    let lines: Vec<_> = rig
        .log
        .iter()
        .map(|effect| serde_json::to_string(effect).unwrap())
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
    for (line, effect) in lines.iter().zip(&rig.log) {
        let read: Effect = serde_json::from_str(line).unwrap();
        assert_eq!(&read, effect);
    }
}

#[test]
fn a_snapshot_is_written_as_ever() {
    let mut rig = Rig::new("h 80, hh 90, on-delay 3s, off-delay 5s, gateway");
    rig.step("0s", "91");
    rig.step("1s", "91");
    rig.step("2s", "late:95@0s");
    rig.step("3s", "bad");
    rig.step("4s", "gateway-lost");
    insta::assert_snapshot!(serde_json::to_string_pretty(&rig.engine.snapshot()).unwrap());
}
