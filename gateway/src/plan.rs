//! Pure: points of a unit to the fewest requests.
//!
//! First step of a reading's path: what to ask for. The points of one unit and one period go in,
//! requests that together cover each of them exactly once come out.
//!
//! Invariants: a value is never split over two requests; two points at one address are both
//! served; no request is longer than the limits, except that a value wider than its limit, or one
//! that runs past register 65535, is asked for alone as it stands (the unit will refuse it, which
//! makes that one point bad with a cause, and no other).
//!
//! Why the greedy walk is minimal: take the points by first address. A request that holds the
//! first one begins there, and the first point that cannot join it (too far off, or too long) also
//! begins the next one no later than any other division would. Shorter points behind it lie inside
//! its span or are met by the walk again. The tests compare with all divisions of small sets.

use davy_core::config::Bus;
use davy_core::point::{Point, Table};
use davy_core::reading::PointId;

/// The most registers that Modbus lets one request read (specification V1.1b3, 6.3 and 6.4).
const REGISTERS_MAX: u16 = 125;

/// The most bits that Modbus lets one request read (specification V1.1b3, 6.1 and 6.2).
const BITS_MAX: u16 = 2000;

/// How long a request may be, and how much it may read for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most registers in one request; above 125 counts as 125.
    pub registers_max: u16,
    /// Most bits in one request; above 2000 counts as 2000.
    pub bits_max: u16,
    /// Most unwanted registers (or bits) between two wanted ones.
    pub gap_max: u16,
}

impl From<&Bus> for Limits {
    fn from(bus: &Bus) -> Self {
        Self {
            registers_max: bus.registers_max,
            bits_max: bus.bits_max,
            gap_max: bus.gap_max,
        }
    }
}

impl Limits {
    fn count_max(self, table: Table) -> u16 {
        if table.holds_bits() {
            self.bits_max.min(BITS_MAX)
        } else {
            self.registers_max.min(REGISTERS_MAX)
        }
    }
}

/// One read of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The table; it decides the function code.
    pub table: Table,
    /// First register or bit, from 0.
    pub first: u16,
    /// How many registers or bits.
    pub count: u16,
    /// The points that it serves, by rising offset.
    pub points: Vec<Slice>,
}

/// Where a point's value stands in the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The point.
    pub point: PointId,
    /// Registers (or bits) before it in the reply.
    pub offset: u16,
}

/// The fewest requests that cover `points`, by table and rising address.
///
/// Give it the points of one unit and one period: what is asked for together is due together.
pub fn plan(points: &[(PointId, &Point)], limits: Limits) -> Vec<Request> {
    let mut spans: Vec<Span> = points.iter().map(Span::of).collect();
    spans.sort_by_key(|span| (span.table, span.first, span.end, span.point));

    let mut requests: Vec<Request> = Vec::new();
    // Where the request that is being filled ends; none when it takes no more.
    let mut open: Option<u32> = None;
    for span in spans {
        let room = u32::from(limits.count_max(span.table));
        let alone = span.end - u32::from(span.first) > room || span.end > 65_536;
        match (requests.last_mut(), open) {
            (Some(request), Some(end)) if !alone && span.joins(request, end, room, limits) => {
                let end = end.max(span.end);
                request.count = (end - u32::from(request.first)) as u16;
                request.points.push(Slice {
                    point: span.point,
                    offset: span.first - request.first,
                });
                open = Some(end);
            }
            _ => {
                requests.push(span.begin());
                open = (!alone).then_some(span.end);
            }
        }
    }
    requests
}

/// The registers (or bits) of one point: `first..end`.
struct Span {
    table: Table,
    first: u16,
    /// One past the last; up to 65,539 when the value runs off the table.
    end: u32,
    point: PointId,
}

impl Span {
    fn of((id, point): &(PointId, &Point)) -> Self {
        let register = point.register;
        let width = if register.table.holds_bits() {
            1
        } else {
            register.encoding.width()
        };
        Self {
            table: register.table,
            first: register.address,
            end: u32::from(register.address) + u32::from(width),
            point: *id,
        }
    }

    fn joins(&self, request: &Request, end: u32, room: u32, limits: Limits) -> bool {
        request.table == self.table
            && u32::from(self.first) <= end + u32::from(limits.gap_max)
            && self.end.max(end) - u32::from(request.first) <= room
    }

    fn begin(&self) -> Request {
        Request {
            table: self.table,
            first: self.first,
            count: (self.end - u32::from(self.first)) as u16,
            points: vec![Slice {
                point: self.point,
                offset: 0,
            }],
        }
    }
}

#[cfg(test)]
mod tests;
