//! What the steps of the ledger carry: how they are read, and how they are described.
//!
//! Only the form is judged here: that each field is known to the step, there, and of its kind.
//! Whether the step may be taken is the core's to say, whose guards refuse with what would satisfy
//! them.

use davy_core::hazard::{Class, FiveItems, HazardStep};
use davy_core::reading::Timestamp;
use utoipa::ToSchema;

use super::fault::{Allowed, Code, Fault, Place};
use super::given::{Given, MOMENTS_MS};

/// The steps that a person can take.
pub(super) const NAMES: [&str; 9] = [
    "verify",
    "reject",
    "notice",
    "fix_on_the_spot",
    "extend",
    "submit",
    "fail_recheck",
    "pass_recheck",
    "supervise",
];

/// A step, and its comment.
pub(super) fn read(event: &'static str, given: &mut Given) -> Result<(HazardStep, String), Fault> {
    let fields: &[&str] = match event {
        "verify" => &["class"],
        "reject" => &["second"],
        "notice" => &["five_items", "deadline"],
        "extend" => &["until", "approved_by"],
        _ => &[],
    };
    given.only(fields.iter().copied().chain(["comment"]))?;
    let comment = given.text("comment")?.unwrap_or_default();
    let step = match event {
        "verify" => HazardStep::Verify {
            class: class(given)?,
        },
        "reject" => HazardStep::Reject {
            second: given.needed_text("second")?,
        },
        "notice" => HazardStep::Notice {
            deadline: moment(given, "deadline")?,
            five_items: five_items(given)?,
        },
        "fix_on_the_spot" => HazardStep::FixOnTheSpot,
        "extend" => HazardStep::Extend {
            until: moment(given, "until")?,
            approved_by: given.needed_text("approved_by")?,
        },
        "submit" => HazardStep::Submit,
        "fail_recheck" => HazardStep::FailRecheck,
        "pass_recheck" => HazardStep::PassRecheck,
        "supervise" => HazardStep::Supervise,
        _ => {
            let allowed = Allowed::one_of(NAMES);
            return Err(Fault::new(Code::NotAllowed, Place::Path, "event", allowed).found(event));
        }
    };
    Ok((step, comment))
}

fn moment(given: &mut Given, name: &'static str) -> Result<Timestamp, Fault> {
    Ok(Timestamp(given.needed_number(name, MOMENTS_MS)?))
}

fn class(given: &mut Given) -> Result<Class, Fault> {
    let classes = [("general", Class::General), ("major", Class::Major)];
    let found = given.one_of("class", &classes)?;
    found.ok_or_else(|| given.missing("class", Allowed::one_of(classes.map(|(word, _)| word))))
}

fn five_items(given: &mut Given) -> Result<FiveItems, Fault> {
    let mut items = given.needed_object("five_items", "five_items.")?;
    items.only([
        "responsibility",
        "measures",
        "funds",
        "time_limit",
        "contingency_plan",
    ])?;
    Ok(FiveItems {
        responsibility: items.needed_text("responsibility")?,
        measures: items.needed_text("measures")?,
        funds: items.needed_text("funds")?,
        time_limit: items.needed_text("time_limit")?,
        contingency_plan: items.needed_text("contingency_plan")?,
    })
}

/// The body of a step. Which fields it takes, each field says; the others are left out. Times are
/// ms since 1970 UTC. The whole body is 64 KiB at most.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
pub(super) struct StepBody {
    /// `verify`: `general` or `major`, as a person judges it.
    class: Option<String>,
    /// `reject`: the second person who agrees; 1 letter or more, not the one who signs.
    second: Option<String>,
    /// `notice`: all five are needed.
    five_items: Option<FiveItemsBody>,
    /// `notice`: until when it is to be put right; after now, not after the entry's own deadline.
    #[schema(format = Int64)]
    deadline: Option<i64>,
    /// `extend`: until when; after the present deadline.
    #[schema(format = Int64)]
    until: Option<i64>,
    /// `extend`: who approved it, one level up; 1 letter or more.
    approved_by: Option<String>,
    /// Any step. Needed by `reject` (the reason), `fix_on_the_spot` and `submit` (what was done) and
    /// `fail_recheck` (what is still wrong).
    comment: Option<String>,
}

/// The five items (五落实) of a notice; each of 1 letter or more.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
pub(super) struct FiveItemsBody {
    /// 责任: who answers for it.
    responsibility: String,
    /// 措施: what is done.
    measures: String,
    /// 资金: what pays for it.
    funds: String,
    /// 时限: until when, in words.
    time_limit: String,
    /// 预案: what happens if it goes wrong meanwhile.
    contingency_plan: String,
}
