//! The plan against its promises, and against every division of small sets.

use std::time::Duration;

use davy_core::point::{ByteOrder, Encoding, Range, Register, Scaling, Text};
use proptest::prelude::*;

use super::*;

fn point(table: Table, address: u16, encoding: Encoding) -> Point {
    Point {
        tag: format!("T-{address}"),
        name: Text::default(),
        kind: "level".into(),
        position: None,
        unit: "%".into(),
        range: Range {
            low: 0.0,
            high: 100.0,
        },
        source: None,
        gateway: "g".into(),
        device: "u".into(),
        period: Duration::from_secs(1),
        register: Register {
            table,
            address,
            encoding,
            order: ByteOrder::Abcd,
            scaling: Scaling::None,
        },
    }
}

fn planned(points: &[Point], limits: Limits) -> Vec<Request> {
    let points: Vec<_> = (0..).map(PointId).zip(points).collect();
    plan(&points, limits)
}

/// `first+count` of each request.
fn shape(points: &[(u16, Encoding)], limits: Limits) -> Vec<(u16, u16)> {
    let points: Vec<_> = points
        .iter()
        .map(|(address, encoding)| point(Table::HoldingRegisters, *address, *encoding))
        .collect();
    planned(&points, limits)
        .iter()
        .map(|request| (request.first, request.count))
        .collect()
}

const ROOMY: Limits = Limits {
    registers_max: 125,
    bits_max: 2000,
    gap_max: 3,
};

#[test]
fn neighbours_and_small_gaps_share_a_request() {
    let (one, two) = (Encoding::U16, Encoding::F32);
    assert_eq!(shape(&[(0, two), (2, two), (4, one)], ROOMY), [(0, 5)]);
    assert_eq!(shape(&[(0, one), (4, one)], ROOMY), [(0, 5)]);
    assert_eq!(shape(&[(0, one), (5, one)], ROOMY), [(0, 1), (5, 1)]);
}

#[test]
fn a_value_is_never_split_at_the_limit() {
    let limits = Limits {
        registers_max: 5,
        ..ROOMY
    };
    let floats = [0, 2, 4, 6].map(|address| (address, Encoding::F32));
    assert_eq!(shape(&floats, limits), [(0, 4), (4, 4)]);
}

#[test]
fn two_points_at_one_address_are_both_served() {
    let points = [Encoding::U16, Encoding::BitOf(3)]
        .map(|encoding| point(Table::InputRegisters, 7, encoding));
    let requests = planned(&points, ROOMY);
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].points.len(), 2);
    assert!(requests[0].points.iter().all(|slice| slice.offset == 0));
}

#[test]
fn what_cannot_be_asked_for_harms_no_neighbour() {
    let end = [(65_534, Encoding::U16), (65_535, Encoding::F32)];
    assert_eq!(shape(&end, ROOMY), [(65_534, 1), (65_535, 2)]);
    let narrow = Limits {
        registers_max: 1,
        ..ROOMY
    };
    let wide = [(0, Encoding::F32), (1, Encoding::U16), (2, Encoding::U16)];
    assert_eq!(shape(&wide, narrow), [(0, 2), (1, 1), (2, 1)]);
}

#[test]
fn the_standard_s_limits_hold_whatever_is_configured() {
    let greedy = Limits {
        registers_max: u16::MAX,
        bits_max: u16::MAX,
        gap_max: u16::MAX,
    };
    let registers: Vec<_> = (0..300).map(|address| (address, Encoding::U16)).collect();
    assert_eq!(shape(&registers, greedy), [(0, 125), (125, 125), (250, 50)]);
    let coils: Vec<_> = (0..2500)
        .map(|address| point(Table::Coils, address, Encoding::Bit))
        .collect();
    assert_eq!(planned(&coils, greedy).len(), 2);
}

/// The least number of requests by trying every division of the points.
fn fewest(points: &[(u16, Encoding)], limits: Limits) -> usize {
    let all = (1_usize << points.len()) - 1;
    let mut best = vec![usize::MAX; all + 1];
    best[0] = 0;
    let valid: Vec<bool> = (0..=all)
        .map(|set| is_request(points, set, limits))
        .collect();
    for set in 1..=all {
        let mut part = set;
        while part > 0 {
            if valid[part] && best[set & !part] != usize::MAX {
                best[set] = best[set].min(best[set & !part] + 1);
            }
            part = (part - 1) & set;
        }
    }
    best[all]
}

fn is_request(points: &[(u16, Encoding)], set: usize, limits: Limits) -> bool {
    let mut spans: Vec<(u16, u16)> = points
        .iter()
        .enumerate()
        .filter(|(place, _)| set & (1 << place) != 0)
        .map(|(_, (address, encoding))| (*address, address + encoding.width()))
        .collect();
    spans.sort_unstable();
    let Some((first, _)) = spans.first().copied() else {
        return false;
    };
    let mut end = first;
    for (start, stop) in spans {
        if start > end && start - end > limits.gap_max {
            return false;
        }
        end = end.max(stop);
    }
    end - first <= limits.registers_max
}

fn encodings() -> impl Strategy<Value = Encoding> {
    prop_oneof![
        Just(Encoding::U16),
        Just(Encoding::F32),
        Just(Encoding::F64),
        Just(Encoding::BitOf(1))
    ]
}

proptest! {
    #[test]
    fn every_point_once_and_no_request_too_long(
        places in prop::collection::vec((0_u16..400, encodings(), 0_u8..4), 0..120),
        registers_max in 4_u16..130,
        bits_max in 1_u16..100,
        gap_max in 0_u16..20,
    ) {
        let limits = Limits { registers_max, bits_max, gap_max };
        let points: Vec<_> = places.iter().map(|(address, encoding, table)| match table {
            0 => point(Table::Coils, *address, Encoding::Bit),
            1 => point(Table::DiscreteInputs, *address, Encoding::Bit),
            2 => point(Table::HoldingRegisters, *address, *encoding),
            _ => point(Table::InputRegisters, *address, *encoding),
        }).collect();
        let mut seen = vec![0; points.len()];
        for request in planned(&points, limits) {
            prop_assert!(request.count <= limits.count_max(request.table));
            for slice in &request.points {
                let register = points[slice.point.index()].register;
                seen[slice.point.index()] += 1;
                prop_assert_eq!(register.table, request.table);
                prop_assert_eq!(register.address, request.first + slice.offset);
                prop_assert!(slice.offset + register.encoding.width() <= request.count);
            }
        }
        prop_assert!(seen.iter().all(|times| *times == 1));
    }

    #[test]
    fn no_division_has_fewer_requests(
        places in prop::collection::vec((0_u16..24, encodings()), 1..8),
        registers_max in 4_u16..16,
        gap_max in 0_u16..6,
    ) {
        let limits = Limits { registers_max, bits_max: 1, gap_max };
        prop_assert_eq!(shape(&places, limits).len(), fewest(&places, limits));
    }
}
