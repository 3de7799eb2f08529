use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[test]
fn this_machine_and_its_link_are_out_of_reach_unless_opened() {
    let usual = Reach::default();
    for address in [
        "127.0.0.1",
        "127.1.2.3",
        "0.0.0.0",
        "0.1.2.3",
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
    ] {
        assert!(!usual.allows(address.parse().unwrap()), "{address}");
    }
    for address in ["10.0.0.1", "192.168.1.1", "1.1.1.1", "2001:db8::1", "fd00::1"] {
        assert!(usual.allows(address.parse().unwrap()), "{address}");
    }
    let opened = Reach { networks: vec!["127.0.0.0/8".to_owned()], ..usual };
    assert!(opened.allows("127.0.0.1".parse().unwrap()) && !opened.allows("::1".parse().unwrap()));
}

/// A server on loopback that answers each connection with the next of `answers`, and the port it has.
async fn server(answers: Vec<String>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    port
}

fn challenge(expected: &str) -> Challenge {
    let way = Way::Http { path: "/.well-known/acme-challenge/t".to_owned(), expected: expected.to_owned() };
    Challenge { of: Identifier::Ip("127.0.0.1".parse().unwrap()), way, resolver: None }
}

fn opened(http_port: u16) -> Challenges {
    Challenges::new(Reach { http_port, networks: vec!["127.0.0.1".to_owned()], ..Reach::default() })
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn redirect(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
}

#[tokio::test]
async fn a_document_is_fetched_through_redirects() {
    let port = server(vec![redirect("/elsewhere"), ok("t.print\n")]).await;
    assert_eq!(opened(port).perform(&challenge("t.print")).await, Ok(()));
}

#[tokio::test]
async fn wrong_answers_and_endless_ones_are_refused() {
    for answer in [
        ok("t.other"),
        ok(&"x".repeat(100_000)),
        "HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\n\r\nt.print".to_owned(),
    ] {
        let port = server(vec![answer]).await;
        let failure = opened(port).perform(&challenge("t.print")).await.unwrap_err();
        assert!(!failure.nothing_done, "{failure:?}");
    }
    let port = server(vec!["no HTTP at all\r\n\r\n".to_owned()]).await;
    assert!(opened(port).perform(&challenge("t.print")).await.unwrap_err().nothing_done);
    let port = server(vec![redirect("/again"); 20]).await;
    let failure = opened(port).perform(&challenge("t.print")).await.unwrap_err();
    assert!(failure.why.contains("redirects more than"), "{failure:?}");
}

#[tokio::test]
async fn nobody_is_led_where_challenges_may_not_lead() {
    let port = server(vec![ok("t.print")]).await;
    let closed = Challenges::new(Reach { http_port: port, ..Reach::default() });
    let failure = closed.perform(&challenge("t.print")).await.unwrap_err();
    assert!(failure.why.contains("may not lead to"), "{failure:?}");
    for to in ["http://[::1]/secret", "http://127.0.0.2/secret", "http://127.0.0.1:22/"] {
        let port = server(vec![redirect(to)]).await;
        let failure = opened(port).perform(&challenge("t.print")).await.unwrap_err();
        assert!(failure.why.contains("may"), "{to}: {failure:?}");
    }
}

#[tokio::test]
async fn who_says_nothing_is_not_waited_for_for_ever() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let impatient = Challenges { patience: Duration::from_millis(50), ..opened(port) };
    let failure = impatient.perform(&challenge("t.print")).await.unwrap_err();
    assert_eq!(failure, Failure { why: "nothing came in time".to_owned(), nothing_done: true });
}
