//! How much and how many: messages, sockets, bodies, and who does not read.

use crate::{
    engine::{stage, stage_with},
    support::{
        House,
        engine::{begin_polling, begin_socket, hear, polled, say},
    },
};

/// How often a limit was reached.
fn reached(house: &House, limit: &str) -> u64 {
    let line = format!("portcullis_socket_limits_total{{kind=\"{limit}\"}} ");
    let page = house.gateway.house.metrics.render();
    let found = page.lines().find_map(|it| it.strip_prefix(&line));
    found.map_or(0, |it| it.parse().unwrap())
}

#[tokio::test]
async fn w12_a_body_has_so_many_packets_and_a_tenant_is_heard_whole() {
    let (house, engine, alice) =
        stage_with(|config| config.sockets.max_polling_packets = 100).await;
    let sid = begin_polling(&house, &alice).await;
    let many = vec![r#"42/uib,["a"]"#; 101].join("\x1e");
    let answer = polled(&house, &alice, Some(&sid), Some(&many)).await;
    assert_eq!(answer.status, 413);
    assert_eq!(reached(&house, "polling_packets"), 1);
    assert!(!engine.heard().iter().any(|it| it.contains("[\"a\"]")));
    let packets: Vec<String> = (0..3000)
        .map(|it| format!(r#"42/uib,["n",{it}]"#))
        .collect();
    for packet in &packets {
        engine.say(packet);
    }
    let mut heard = Vec::new();
    while heard.len() < packets.len() {
        let answer = polled(&house, &alice, Some(&sid), None).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        heard.extend(answer.text().split('\x1e').map(str::to_owned));
    }
    assert_eq!(heard, packets);
    house.close().await;
}

#[tokio::test]
async fn w16_a_tenants_answer_to_a_poll_is_bounded_by_its_bytes() {
    let (house, engine, alice) =
        stage_with(|config| config.sockets.max_polling_answer = 100_000).await;
    let sid = begin_polling(&house, &alice).await;
    engine.say(&format!(r#"42/uib,["{}"]"#, "x".repeat(100_000)));
    let answer = polled(&house, &alice, Some(&sid), None).await;
    assert_eq!(answer.status, 502);
    assert_eq!(reached(&house, "polling_answer"), 1);
    house.close().await;
}

#[tokio::test]
async fn w13_each_limit_of_a_message_has_its_code_and_is_counted() {
    let (house, engine, alice) = stage().await;
    let deep = format!(r#"42/uib,["deep",{}{}]"#, "[".repeat(66), "]".repeat(66));
    for (message, code, limit) in [
        ("4".repeat((1 << 20) + 1), 1009, "message_size"),
        (deep, 1008, "nesting"),
        (r#"45257-/uib,["a"]"#.to_owned(), 1008, "attachments"),
    ] {
        let mut socket = begin_socket(&house, &alice).await;
        say(&mut socket, &message).await;
        assert_eq!(hear(&mut socket).await, Err(code), "{limit}");
        assert_eq!(reached(&house, limit), 1, "{limit}");
    }
    assert_eq!(engine.heard(), ["40/uib,"; 3]);
    house.close().await;
}
