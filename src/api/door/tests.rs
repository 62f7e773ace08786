//! The door over real sockets. Time is paused where it is ours, so that half a minute costs nothing;
//! how long the system bears a stalled client is its own time, and set short.

use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;

use super::*;
use crate::api::BODY_BYTES_MAX;
use crate::api::given::{Body, Given};

/// Longest wait for one thing: longer than any limit of ours.
const PATIENCE: Duration = Duration::from_mins(1);

async fn door(router: Router, limits: Limits) -> std::net::SocketAddr {
    counted(router, limits).await.0
}

async fn counted(router: Router, limits: Limits) -> (std::net::SocketAddr, Arc<DoorCounters>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (closing, counters) = (CancellationToken::new(), Arc::default());
    tokio::spawn(serve(
        listener,
        router,
        closing,
        Arc::clone(&counters),
        limits,
    ));
    (address, counters)
}

fn plain() -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/told", post(|_: Body<Given>| async { "taken" }))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

async fn connect(to: std::net::SocketAddr) -> TcpStream {
    TcpSocket::new_v4().unwrap().connect(to).await.unwrap()
}

/// All that comes until the other side hangs up.
async fn until_hung_up(stream: &mut TcpStream) -> String {
    let mut come = Vec::new();
    // Hung up on with bytes unread is an error, and hung up on.
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut come)).await;
    read.expect("it is still open").unwrap_or_default();
    String::from_utf8(come).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_client_of_a_byte_a_second_is_hung_up_on() {
    let mut stream = connect(door(plain(), LIMITS).await).await;
    let begun = tokio::time::Instant::now();
    let request = b"GET / HTTP/1.1\r\nhost: localhost\r\nx-filler: ".iter();
    let mut bytes = request.chain(std::iter::repeat(&b'x'));
    let mut each = tokio::time::interval(Duration::from_secs(1));
    loop {
        each.tick().await;
        let byte = *bytes.next().unwrap();
        let is_open = stream.write_all(&[byte]).await.is_ok();
        if !is_open || stream.try_read(&mut [0]).is_ok_and(|read| read == 0) {
            break;
        }
        // The clock is paused: this is how long the door bears it.
        assert!(begun.elapsed() < LIMITS.head_time * 2, "it is still open");
    }
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_more_is_hung_up_on() {
    let (address, counters) = counted(plain(), LIMITS).await;
    // After an answer, and before anything was asked.
    let mut kept = connect(address).await;
    kept.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let answer = until_hung_up(&mut kept).await;
    assert!(answer.ends_with("hello"), "{answer}");
    let mut silent = connect(address).await;
    assert_eq!(until_hung_up(&mut silent).await, "");
    while counters.open.load(Ordering::Relaxed) > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(counters.timed_out.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_refused() {
    let mut stream = connect(door(plain(), LIMITS).await).await;
    let head = "POST /told HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\
                content-type: application/json\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = until_hung_up(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("\"too_slow\""), "{answer}");
    assert!(answer.contains("{\"seconds\":10}"), "{answer}");
}

#[tokio::test]
async fn a_head_has_its_bounds() {
    let address = door(plain(), LIMITS).await;
    let long = format!("x-long: {}\r\n", "x".repeat(LIMITS.head_bytes));
    let many = "x-one: 1\r\n".repeat(LIMITS.headers + 1);
    for (headers, status) in [
        ("x-short: 1\r\n", 200),
        (&*long, 431),
        (&*many, 431),
        ("no header\r\n", 400),
    ] {
        let mut stream = connect(address).await;
        let request = format!("GET / HTTP/1.1\r\nconnection: close\r\n{headers}\r\n");
        // Hung up on before all of it was written.
        stream
            .write_all(request.as_bytes())
            .await
            .unwrap_or_default();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert_eq!(answer, format!("HTTP/1.1 {status}"));
    }
}

#[tokio::test(start_paused = true)]
async fn who_idles_makes_room_for_who_comes() {
    let limits = Limits {
        connections: 2,
        ..LIMITS
    };
    let (address, counters) = counted(plain(), limits).await;
    let begun = tokio::time::Instant::now();
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(connect(address).await);
    }
    let mut asks = connect(address).await;
    asks.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let answer = until_hung_up(&mut asks).await;
    assert!(answer.ends_with("hello"), "{answer}");
    // The clock is paused: nobody had to wait for the end of somebody's time.
    assert!(begun.elapsed() < limits.head_time);
    assert!(counters.full.load(Ordering::Relaxed) > 0);
    drop(silent);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_hung_up_on() {
    /// Tells when the answer is let go.
    struct LetGo(Option<oneshot::Sender<()>>);
    impl Drop for LetGo {
        fn drop(&mut self) {
            if let Some(told) = self.0.take() {
                told.send(()).unwrap();
            }
        }
    }
    let (told, let_go) = oneshot::channel();
    let answer = Arc::new(std::sync::Mutex::new(Some(LetGo(Some(told)))));
    let endless = move || {
        let let_go = answer.lock().unwrap().take();
        let chunks = std::iter::repeat_with(move || {
            assert!(let_go.is_some());
            Ok::<_, std::convert::Infallible>(vec![0_u8; 64 << 10])
        });
        async move { axum::body::Body::from_stream(futures::stream::iter(chunks)) }
    };
    let limits = Limits {
        stalled: Duration::from_millis(100),
        ..LIMITS
    };
    let router = Router::new().route("/", get(endless));
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(door(router, limits).await).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let let_go = tokio::time::timeout(PATIENCE, let_go).await;
    let_go.unwrap().unwrap();
    drop(stream);
}
