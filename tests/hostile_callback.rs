//! Servers that abuse it that a client serves them: whatever they do, the client keeps a bounded part of it.

#[path = "support/game.rs"]
mod game;
#[path = "support/hostile/mod.rs"]
mod hostile;
#[path = "support/lifecycle/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use game::{GameClient, GameServer, Player};
use hostile::raw::{Liar, Raw};
use hostile::wire::{self, RESOURCE_EXHAUSTED, Value, framed};
use rpc::Limits;
use support::{Event, Events};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

const SECOND: Duration = Duration::from_secs(1);
const QUEUE: usize = 64 * 1024;
const CALLS: usize = 8;
const FAR_TOO_MUCH: usize = 32 << 20;

/// A client that serves, connected to a server that is one in name only.
async fn connected(liar: &mut Liar) -> (GameClient, Arc<Player>, Events, Raw) {
    let limits = Limits::default().with_send_queue_bytes(QUEUE).with_calls(CALLS);
    let (player, events) = Player::new("client");
    let connecting = GameClient::connect(&liar.url).limits(limits).serve(GameServer::new(player.clone()));
    let connecting = tokio::spawn(connecting.into_future());
    let raw = liar.welcome().await;
    (connecting.await.expect("joined").expect("connected"), player, events, raw)
}

/// Messages without end.
struct Flood<M> {
    message: M,
    /// What the other side did not take of the last one.
    rest: Vec<u8>,
}

impl<M: FnMut() -> Vec<u8>> Flood<M> {
    fn of(message: M) -> Self {
        Flood { message, rest: Vec::new() }
    }

    /// Sends until the other side takes no more, or as much as this; gives how many bytes it took.
    async fn send(&mut self, raw: &mut Raw, most: usize) -> usize {
        let mut sent = 0;
        while sent < most {
            if self.rest.is_empty() {
                self.rest = framed(&(self.message)());
            }
            match timeout(SECOND, raw.send.write(&self.rest)).await {
                Ok(written) => {
                    let written = written.expect("it is open");
                    self.rest.drain(..written);
                    sent += written;
                }
                Err(_elapsed) => break,
            }
        }
        sent
    }
}

#[test]
fn a_server_that_calls_and_does_not_read_gets_no_more_answers_than_it_has_places() {
    Liar::attacks(async |liar| {
        let (_client, _player, _events, mut raw) = connected(liar).await;
        let size = 10_000;
        let params = wire::array(&[&wire::binary(&vec![7; size])]);
        let mut id = 0;
        let mut flood = Flood::of(|| {
            id += 1;
            wire::request(id, "Game.mirror", &params)
        });
        let sent = flood.send(&mut raw, FAR_TOO_MUCH).await;
        assert!(sent < 16 << 20, "{sent} bytes were taken while nothing was read");
        // Nothing was lost by that: all that was taken is answered, most of it with a refusal.
        let (mut answered, mut refused) = (0, 0);
        while let Ok(Some(message)) = timeout(SECOND, raw.recv()).await {
            match message.elements() {
                [Value::Uint(1), _, Value::Nil, _] => answered += 1,
                [Value::Uint(1), ..] => {
                    assert_eq!(message.error().1, RESOURCE_EXHAUSTED);
                    refused += 1;
                }
                _ => {}
            }
        }
        // What a pipe holds, and twice what a queue and the places do: once on its way, and once behind that.
        assert!(answered * size <= QUEUE + 2 * (QUEUE + CALLS * size), "{answered} answers");
        assert!(refused > 100, "{refused} refusals");
    });
}

#[test]
fn a_server_that_sends_one_way_calls_without_end_is_not_read_without_end() {
    Liar::attacks(async |liar| {
        let (client, player, mut events, mut raw) = connected(liar).await;
        // A reply that the client waits for, so that it has a reason to read.
        let pending = tokio::spawn(client.hold(0).into_future());
        assert_eq!(raw.recv().await.expect("a request").kind(), 0);
        let mut flood = Flood::of(|| wire::array(&[&[2], &wire::text("Game.hold"), &wire::array(&[&[0]])]));
        let sent = flood.send(&mut raw, FAR_TOO_MUCH).await;
        assert!(sent < 1 << 20, "{sent} bytes were taken");
        assert_eq!(events.drain(), vec![Event::Started(0); CALLS]);
        // With every one of those that end another one begins, and more is read.
        player.recorder.open_gate();
        for _ in 0..100 {
            events.until(Event::Ended(0)).await;
        }
        assert!(flood.send(&mut raw, 1 << 20).await >= 1 << 20, "they end as they come");
        raw.send(&flood.rest).await;
        assert_eq!(raw.call(7, "Game.hold", &wire::array(&[&[0]])).await.value(), (7, &Value::Uint(0)));
        drop(raw);
        pending.await.expect("joined").expect_err("the server has gone");
    });
}
