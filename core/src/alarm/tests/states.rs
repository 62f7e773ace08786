//! Every combination of axes under every event: the table that a reviewer reads.

use super::*;

const EVENTS: [&str; 6] = ["95", "50", "bad", "tick", "ack", "reset"];

/// Every combination that can be: what is latched has returned, so it is not active.
fn all_axes() -> impl Iterator<Item = Axes> {
    (0u8..64).filter_map(|bits| {
        let bit = |place: u8| bits & (1 << place) != 0;
        let axes = Axes {
            active: bit(0),
            acknowledged: bit(1),
            latched: bit(2),
            shelved_until: bit(3).then_some(moment("3600s")),
            suppressed_by_design: bit(4),
            out_of_service: bit(5),
        };
        (!(axes.active && axes.latched)).then_some(axes)
    })
}

/// `UNACK`, or `SHLVD(UNACK)` when hidden; `!` when it sounded, the reason when refused.
fn outcome(axes: Axes, event: &str) -> String {
    let mut rig = Rig::new("h 80, latch");
    // Already over the limit when it is to stay active, so that only the event changes anything.
    rig.step("0s", "50");
    rig.engine.set_axes(0, axes);
    rig.twin.set_axes(0, axes);
    let listed = rig.engine.alarms().next().map(|view| view.occurrence);
    rig.effects.clear();
    let at = "1s";
    match event {
        "ack" | "reset" => {
            let number = listed.filter(|number| *number > 0).unwrap_or(99);
            rig.apply(moment(at), Input::Command(&command(event, number)));
        }
        event => {
            rig.step(at, event);
        }
    }
    let after = rig
        .engine
        .alarms()
        .next()
        .map_or(Axes::NORMAL, |view| view.axes);
    let process = mnemonic(after.process_state());
    let state = mnemonic(after.state());
    let mut text = if state == process {
        state.to_owned()
    } else {
        format!("{state}({process})")
    };
    if rig.changes().any(|change| change.sounds) {
        text.push('!');
    }
    for why in rig.refusals() {
        write!(
            text,
            " {}",
            serde_json::to_value(why).unwrap().as_str().unwrap()
        )
        .unwrap();
    }
    text
}

#[test]
fn the_table_of_every_state_and_event() {
    let mut table =
        String::from("a=active k=acknowledged l=latched s=shelved d=suppressed o=out of service\n");
    for axes in all_axes() {
        let mark = |set: bool, letter: char| if set { letter } else { '-' };
        let marks: String = [
            mark(axes.active, 'a'),
            mark(axes.acknowledged, 'k'),
            mark(axes.latched, 'l'),
            mark(axes.shelved_until.is_some(), 's'),
            mark(axes.suppressed_by_design, 'd'),
            mark(axes.out_of_service, 'o'),
        ]
        .iter()
        .collect();
        writeln!(table, "\n{marks} {}", mnemonic(axes.state())).unwrap();
        for event in EVENTS {
            writeln!(table, "  {event:<5} {}", outcome(axes, event)).unwrap();
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn an_alarm_is_normal_only_when_nothing_is_owed() {
    for axes in all_axes() {
        let normal = axes.process_state() == State::Normal;
        let nothing = !axes.active && axes.acknowledged && !axes.latched;
        assert_eq!(normal, nothing, "{axes:?}");
        let bare = axes == Axes { ..Axes::NORMAL };
        assert_eq!(axes.state() == State::Normal, bare, "{axes:?}");
    }
}
