//! Real processes that call each other both ways, and are killed meanwhile.
//!
//! The other process is this test program again, told by its environment to play a part.

#[path = "support/game.rs"]
mod game;
#[path = "support/process.rs"]
mod process;
#[path = "support/lifecycle/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::io::Read;
use std::time::Duration;

use game::{GameClient, GameServer, Match, Player, assert_unavailable};
use process::{PART, Process};
use rpc::{Code, Executed, Limits, Server};
use support::{Event, Events, Way, patiently};

const ADDRESS: &str = "RPC_TEST_ADDRESS";
/// How many calls the other process takes.
const CALLS: usize = 3;

/// Does nothing, unless this process was started by one of the tests below to play a part.
#[tokio::test]
async fn plays_its_part_in_another_test() {
    let Ok(part) = std::env::var(PART) else { return };
    let address = std::env::var(ADDRESS).expect("set with the part");
    let limits = Limits::default().with_calls(CALLS);
    match part.as_str() {
        "server" => {
            let (player, events) = Player::new("server");
            tokio::spawn(tell(events));
            let server = Server::new().limits(limits).add(GameServer::new(player));
            let bound = server.bind(address.as_str()).await.expect("the address is free");
            println!("at {}.", bound.local_addr());
            let shutdown = bound.shutdown_handle();
            std::thread::spawn(move || {
                // The parent says nothing; that its end is closed is the message.
                let _ = std::io::stdin().read(&mut [0]);
                drop(shutdown.shutdown());
            });
            bound.serve().await.expect("served");
            println!("drained.");
        }
        "client" => {
            let (player, events) = Player::new("client");
            let connecting = GameClient::connect(&address).limits(limits).serve(GameServer::new(player));
            let client = connecting.await.expect("connected");
            client.remember().await.expect("a reply");
            println!("remembered.");
            // And calls to and fro until it is killed.
            tokio::spawn(async move {
                loop {
                    client.bounce(2).await.expect("a reply");
                }
            });
            tell(events).await;
        }
        part => panic!("there is no part {part:?}"),
    }
}

async fn tell(mut events: Events) {
    loop {
        println!("{:?}.", events.wait().await);
    }
}

fn start(part: &str, address: &str) -> Process {
    Process::start(part, &[(ADDRESS, address.as_ref())])
}

async fn start_server(address: &str) -> (Process, String) {
    let mut process = start("server", address);
    let address = process.says("at ").await;
    (process, address)
}

#[tokio::test]
async fn a_client_killed_while_it_is_called_leaves_each_call_its_outcome_and_others_in_peace() {
    let game = Match::begin(Way::Tcp).await;
    game.client.remember().await.expect("a reply");
    let neighbour = game.at_server.remembered().expect("it was kept");
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();

    let mut process = start("client", &game.serving.address);
    process.says("remembered").await;
    let kept = game.at_server.remembered().expect("it was kept");
    let calls: Vec<_> = (0..2 * CALLS).map(|_| tokio::spawn(kept.hold(0).into_future())).collect();
    // It takes three; the others wait for a place.
    for _ in 0..CALLS {
        process.says("Started(0)").await;
    }
    process.kill().await;
    let mut outcomes = BTreeMap::<_, usize>::new();
    for call in calls {
        let error = patiently("the end", call).await.expect("no panic").expect_err("it was killed");
        assert_eq!(error.code(), Code::Unavailable, "{error:?}");
        *outcomes.entry(format!("{:?}", error.executed())).or_default() += 1;
    }
    assert_eq!(outcomes, [("Maybe".to_owned(), CALLS), ("No".to_owned(), CALLS)].into());
    assert_unavailable(&kept.bounce(0).await.expect_err("it was killed"), Executed::No);

    assert_eq!(neighbour.bounce(5).await.expect("it has noticed nothing").len(), 6);
    let none_left = async {
        while tasks() > before {
            tokio::task::yield_now().await;
        }
    };
    patiently("the end of its tasks", none_left).await;
}

#[tokio::test]
async fn a_server_killed_while_calls_go_both_ways_is_called_and_calls_again_when_it_is_back() {
    let (mut server, address) = start_server("tcp://127.0.0.1:0").await;
    let (player, mut events) = Player::new("client");
    let limits = Limits::default().with_backoff(Duration::from_millis(5));
    let connecting = GameClient::connect(&address).limits(limits).serve(GameServer::new(player.clone()));
    let client = connecting.await.expect("connected");
    for round in 0..3 {
        // Two levels there, one here in between, which is waited for at the far end.
        let held = tokio::spawn(client.hold(2).into_future());
        events.expect(Event::Started(1)).await;
        server.says("Started(0)").await;
        // And one that is held here.
        let waits_here = tokio::spawn(client.hold(1).into_future());
        events.expect(Event::Started(0)).await;
        server.kill().await;
        for call in [held, waits_here] {
            let error = patiently("the end", call).await.expect("no panic").expect_err("it was killed");
            assert_unavailable(&error, Executed::Maybe);
        }
        let mut ended = [events.next().await, events.next().await];
        ended.sort_by_key(|event| format!("{event:?}"));
        assert_eq!(ended, [Event::Dropped(0), Event::Dropped(1)], "round {round}");

        (server, _) = start_server(&address).await;
        // As deep as its places reach: the levels 4, 2 and 0 are there.
        let seen = patiently("a reply", client.bounce(4).wait_for_ready()).await.expect("a reply");
        assert_eq!(seen.len(), 5);
    }
}

#[tokio::test]
async fn a_process_that_drains_finishes_its_calls_back_before_it_exits() {
    let (mut server, address) = start_server("tcp://127.0.0.1:0").await;
    let (player, mut events) = Player::new("client");
    let connecting = GameClient::connect(&address).serve(GameServer::new(player.clone()));
    let client = connecting.await.expect("connected");
    let held = tokio::spawn(client.hold(1).into_future());
    events.expect(Event::Started(0)).await;
    let deep = tokio::spawn(client.hold(3).into_future());
    events.expect(Event::Started(2)).await;
    events.expect(Event::Started(0)).await;
    drop(server.child.stdin.take());
    // It drains once it takes no more, which a call learns that was not executed.
    let refused = async { while client.mirror(vec![1]).await.is_ok() {} };
    patiently("a refusal", refused).await;
    player.recorder.open_gate();
    for (call, levels) in [(held, 1), (deep, 3)] {
        assert_eq!(patiently("the end", call).await.expect("no panic").expect("it was finished"), levels);
    }
    server.says("drained").await;
    let status = patiently("its exit", server.child.wait()).await.expect("a status");
    assert!(status.success(), "{status}");
}
