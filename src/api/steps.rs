//! What the steps of the ledger carry, for the description of the interface alone.
//!
//! These shapes are never read: a step is read as the core's own command, whose guards judge every
//! field and refuse with what would satisfy them.

use utoipa::ToSchema;

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
