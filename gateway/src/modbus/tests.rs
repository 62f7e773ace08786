//! The reader against a bus that fails in every way that it can.

#![allow(clippy::unwrap_used, reason = "a test may fail by it")]

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use davy_core::point::Table;

use super::fake::{FakeLink, Manner};
use super::*;

const TIMEOUT: Duration = Duration::from_millis(200);

async fn reader(link: &FakeLink) -> Reader {
    Reader::connect(link, TIMEOUT).await.unwrap()
}

async fn read(reader: &mut Reader, first: u16) -> Result<Values, Failure> {
    reader.read(1, Table::HoldingRegisters, first, 2).await
}

#[tokio::test(start_paused = true)]
async fn it_reads_the_four_tables_with_their_codes() {
    let link = FakeLink::default();
    let mut reader = reader(&link).await;
    for (table, values) in [
        (Table::Coils, Values::Bits(vec![true, false, true])),
        (Table::DiscreteInputs, Values::Bits(vec![true, false, true])),
        (
            Table::HoldingRegisters,
            Values::Registers(vec![7007, 7008, 7009]),
        ),
        (
            Table::InputRegisters,
            Values::Registers(vec![7007, 7008, 7009]),
        ),
    ] {
        assert_eq!(reader.read(7, table, 7, 3).await, Ok(values));
    }
    assert_eq!(*link.0.functions.lock().unwrap(), [1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_late_reply_is_never_taken_for_another_s() {
    let link = FakeLink::default();
    link.set(1, Manner::Late(TIMEOUT + Duration::from_millis(100)));
    let mut reader = reader(&link).await;
    assert_eq!(read(&mut reader, 10).await, Err(Failure::NoAnswer));
    // The reply to 10 comes now; nothing can be asked over this connection any more.
    tokio::time::advance(Duration::from_millis(100)).await;
    link.set(1, Manner::Answers);
    assert!(!reader.is_open());
    assert_eq!(read(&mut reader, 20).await, Err(Failure::LinkDown));
    let mut next = self::reader(&link).await;
    let values = Values::Registers(vec![1020, 1021]);
    assert_eq!(read(&mut next, 20).await, Ok(values));
}

#[tokio::test(start_paused = true)]
async fn a_read_that_is_given_up_half_way_drops_the_connection() {
    let link = FakeLink::default();
    link.set(1, Manner::Late(Duration::from_millis(100)));
    let mut reader = reader(&link).await;
    let early = Duration::from_millis(50);
    let given_up = tokio::time::timeout(early, read(&mut reader, 10)).await;
    assert!(given_up.is_err());
    assert!(!reader.is_open());
}

#[tokio::test(start_paused = true)]
async fn what_is_no_valid_reply_drops_the_connection() {
    for (manner, failure) in [
        (Manner::WrongTransaction, Failure::Misaddressed),
        (Manner::WrongUnit, Failure::Misaddressed),
        (Manner::WrongFunction, Failure::Garbled),
        (Manner::CutMidFrame, Failure::Garbled),
        (Manner::Short, Failure::Garbled),
        (Manner::Closes, Failure::LinkDown),
        (Manner::Silent(Duration::ZERO), Failure::NoAnswer),
    ] {
        let link = FakeLink::default();
        link.set(1, manner);
        let mut reader = reader(&link).await;
        assert_eq!(read(&mut reader, 10).await, Err(failure), "{manner:?}");
        assert!(!reader.is_open(), "{manner:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn too_few_bits_are_garbled() {
    let link = FakeLink::default();
    link.set(1, Manner::Short);
    let mut reader = reader(&link).await;
    let read = reader.read(1, Table::Coils, 0, 9).await;
    assert_eq!(read, Err(Failure::Garbled));
}

#[tokio::test(start_paused = true)]
async fn an_exception_keeps_the_connection() {
    let link = FakeLink::default();
    link.set(1, Manner::RefusesAt(10));
    let mut reader = reader(&link).await;
    assert_eq!(read(&mut reader, 10).await, Err(Failure::Exception(2)));
    let values = Values::Registers(vec![1020, 1021]);
    assert_eq!(read(&mut reader, 20).await, Ok(values));
    assert_eq!(link.0.connected_in_all.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_refuses_is_down() {
    let link = FakeLink::default();
    link.0.refuses_connections.store(true, SeqCst);
    let failure = Reader::connect(&link, TIMEOUT).await.err();
    let refused = Failure::Unreachable(std::io::ErrorKind::ConnectionRefused);
    assert_eq!(failure, Some(refused));
    assert_eq!(refused.to_string(), "no connection: connection refused");
    assert_eq!(refused.cause(), BadCause::LinkDown);
}

#[tokio::test]
async fn it_reads_over_tcp() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let link = TcpLink {
        address: listener.local_addr().unwrap().to_string(),
    };
    let plant = FakeLink::default();
    let unit = async {
        let (stream, _) = listener.accept().await.unwrap();
        plant.0.serve(stream).await
    };
    let ask = async {
        let mut reader = Reader::connect(&link, Duration::from_mins(1)).await?;
        reader.read(3, Table::InputRegisters, 100, 2).await
    };
    // The unit ends when the reader is dropped.
    let (values, _end) = tokio::join!(ask, unit);
    assert_eq!(values, Ok(Values::Registers(vec![3100, 3101])));
}

#[test]
fn a_gateway_that_says_the_unit_is_gone_means_silence() {
    for code in [0x0a, 0x0b] {
        assert!(Failure::Exception(code).is_silence());
        assert_eq!(Failure::Exception(code).cause(), BadCause::NoAnswer);
    }
    assert!(!Failure::Exception(2).is_silence());
    assert_eq!(Failure::Exception(2).cause(), BadCause::Exception);
    assert_eq!(
        Failure::Exception(2).to_string(),
        "answered with exception 2 (no such register)"
    );
}
