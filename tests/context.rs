//! What a handler knows of its call, and what the calls it makes inherit.

#[path = "support/always/mod.rs"]
mod always;
#[path = "support/lifecycle/mod.rs"]
mod support;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use always::{Always, bystander};
use rpc::{Code, Context, Error, Executed, Server, service};
use serde::{Deserialize, Serialize};
use support::{Event, Events, Recorder, Serving, Way, patiently};

/// A service that is one of a chain.
#[service(name = "chain.v1")]
trait Hop {
    /// What its context says, before or after its first await.
    async fn look(&self, later: bool) -> Seen;
    /// What the context of the last of the chain says; each calls the next with these timeouts.
    async fn pass_on(&self, millis: Vec<u64>) -> Result<Seen, Error>;
    /// Holds the call until it is dropped; so do all down the chain.
    async fn hold(&self) -> Result<(), Error>;
    /// Calls the next on a task of its own, and holds the call.
    async fn hold_elsewhere(&self) -> Result<(), Error>;
    /// Ends after its caller has gone, with a call to the next.
    #[rpc(no_cancel)]
    async fn tidy_up(&self) -> Result<(), Error>;
    /// What code in other tasks and threads sees.
    async fn look_elsewhere(&self) -> [Seen; 4];
    /// Has a task that waits for the cancellation.
    async fn wait_in_a_task(&self) -> Result<(), Error>;
    async fn answer_with(&self, name: String, value: String) -> u64;
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Seen {
    service: Option<String>,
    method: Option<String>,
    tenant: Option<String>,
    texts: usize,
    peer: Option<String>,
    millis_left: Option<u64>,
    cancelled: bool,
}

fn look() -> Seen {
    let context = Context::current();
    let now = tokio::time::Instant::now().into_std();
    Seen {
        service: context.service().map(str::to_owned),
        method: context.method().map(str::to_owned),
        tenant: context.metadata("tenant"),
        texts: context.all_metadata().len(),
        peer: context.peer().address().map(|address| address.to_string()),
        millis_left: context.deadline().map(|deadline| (deadline - now).as_millis() as u64),
        cancelled: context.is_cancelled(),
    }
}

struct Link {
    /// Its place in the chain, from 0.
    number: u64,
    next: Option<HopClient>,
    recorder: Arc<Recorder>,
}

impl Hop for Link {
    async fn look(&self, later: bool) -> Seen {
        if later {
            tokio::task::yield_now().await;
        }
        look()
    }
    async fn pass_on(&self, mut millis: Vec<u64>) -> Result<Seen, Error> {
        let Some(next) = &self.next else { return Ok(look()) };
        let call = match millis.is_empty() {
            true => next.pass_on(millis),
            false => {
                let timeout = Duration::from_millis(millis.remove(0));
                next.pass_on(millis).timeout(timeout)
            }
        };
        call.await
    }
    async fn hold(&self) -> Result<(), Error> {
        let run = self.recorder.run(self.number);
        match &self.next {
            Some(next) => next.hold().await?,
            None => self.recorder.gate().await,
        }
        run.end();
        Ok(())
    }
    async fn hold_elsewhere(&self) -> Result<(), Error> {
        let run = self.recorder.run(self.number);
        let next = self.next.as_ref().expect("not the last");
        // Not asking for the context: that alone must not make a difference.
        let mut call = next.hold();
        tokio::spawn(async move {
            // Kept after it has ended: its own handler is not to wait for it to be dropped.
            let _ = (&mut call).await;
            pending::<()>().await;
            drop(call);
        });
        self.recorder.gate().await;
        run.end();
        Ok(())
    }
    async fn tidy_up(&self) -> Result<(), Error> {
        let run = self.recorder.run(self.number);
        Context::current().cancelled().await;
        if let Some(next) = &self.next {
            next.look(true).await?;
        }
        run.end();
        Ok(())
    }
    async fn look_elsewhere(&self) -> [Seen; 4] {
        let context = Context::current();
        let spawned = Context::spawn(async { look() }).await.expect("no panic");
        let scoped = tokio::spawn(context.scope(async { look() })).await.expect("no panic");
        let blocking = tokio::task::spawn_blocking(move || context.sync_scope(look)).await.expect("no panic");
        let plain = tokio::spawn(async { look() }).await.expect("no panic");
        [spawned, scoped, blocking, plain]
    }
    async fn wait_in_a_task(&self) -> Result<(), Error> {
        let (recorder, number) = (self.recorder.clone(), self.number);
        Context::spawn(async move {
            Context::current().cancelled().await;
            recorder.tell(Event::Cancelled(number));
        });
        let _run = self.recorder.run(self.number);
        self.recorder.gate().await;
        Ok(())
    }
    async fn answer_with(&self, name: String, value: String) -> u64 {
        Context::current().set_reply_metadata("both", "first");
        Context::current().set_reply_metadata("both", "last");
        tokio::task::yield_now().await;
        Context::current().set_reply_metadata(name, value);
        7
    }
}

/// A chain of services, each on a server of its own, and a client of the first.
struct Chain {
    client: HopClient,
    recorder: Arc<Recorder>,
    events: Events,
    serving: Vec<Serving>,
}

impl Chain {
    async fn of(length: u64, way: Way) -> Chain {
        let (recorder, events) = Recorder::new();
        let mut next = None;
        let mut serving = Vec::new();
        for number in (0..length).rev() {
            let service = HopServer::new(Link { number, next: next.take(), recorder: recorder.clone() });
            next = Some(if way.is_in_process() {
                HopClient::in_process(service)
            } else {
                serving.push(Serving::start(Server::new().add(service), &way.address()).await);
                HopClient::connect(&serving.last().expect("just pushed").address).await.expect("connected")
            });
        }
        serving.reverse();
        Chain { client: next.expect("not empty"), recorder, events, serving }
    }
}

#[tokio::test]
async fn outside_of_a_handler_it_is_empty() {
    assert_eq!(look(), Seen::default());
    Context::current().set_reply_metadata("nobody", "hears");
    Context::default().sync_scope(|| assert_eq!(look(), Seen::default()));
    assert_eq!(Context::spawn(async { look() }).await.expect("no panic"), Seen::default());
    let context = Context::current();
    tokio::select! {
        () = context.cancelled() => panic!("there is nothing to cancel"),
        () = tokio::task::yield_now() => {}
    }
    // And a call leaves nothing behind, in process neither.
    for way in Way::ALL {
        Chain::of(1, way).await.client.look(true).metadata("tenant", "acme").await.expect("a reply");
        assert_eq!(look(), Seen::default());
    }
}

#[tokio::test]
async fn a_handler_sees_its_call_before_and_after_its_first_await() {
    for way in Way::ALL {
        let chain = Chain::of(1, way).await;
        // The first calls run on tasks of their own, later ones where they were read.
        for round in 0..40 {
            let call = chain.client.look(round % 2 == 0).timeout(Duration::from_secs(3600));
            let mut seen = call.metadata("tenant", "acme").metadata("other", "").await.expect("a reply");
            let left = seen.millis_left.take().expect("a deadline");
            assert!((3_590_000..=3_600_000).contains(&left), "{left} ms left");
            let peer = seen.peer.take().expect("a peer");
            let expected = match way {
                Way::Tcp => "tcp://127.0.0.1:",
                Way::Memory => "mem://",
                Way::InProcess => "in-process:",
            };
            assert!(peer.starts_with(expected), "{peer}");
            let expected = Seen {
                service: Some("chain.v1".to_owned()),
                method: Some("look".to_owned()),
                tenant: Some("acme".to_owned()),
                texts: 2,
                ..Seen::default()
            };
            assert_eq!(seen, expected, "{way:?}");
            // The next call has nothing of the one before.
            let seen = chain.client.look(round % 2 == 1).await.expect("a reply");
            assert_eq!((seen.tenant, seen.texts, seen.millis_left), (None, 0, None), "{way:?}");
        }
    }
}

#[tokio::test]
async fn calls_at_the_same_time_do_not_see_each_others_context() {
    for way in Way::ALL {
        let chain = Chain::of(1, way).await;
        let calls: Vec<_> = (0..200)
            .map(|n| tokio::spawn(chain.client.look(n % 3 != 0).metadata("tenant", n.to_string())))
            .collect();
        for (n, call) in calls.into_iter().enumerate() {
            let seen = call.await.expect("no panic").expect("a reply");
            assert_eq!(seen.tenant, Some(n.to_string()), "{way:?}");
        }
    }
}

#[tokio::test]
async fn metadata_of_the_reply_reaches_who_asks_for_it() {
    for way in Way::ALL {
        let chain = Chain::of(1, way).await;
        let call = chain.client.answer_with("cost".into(), "ünïcode\n".into()).with_metadata();
        let (value, metadata) = call.await.expect("a reply");
        assert_eq!(value, 7);
        let texts: Vec<_> = metadata.iter().collect();
        assert_eq!(texts, [("both", "last"), ("cost", "ünïcode\n")], "{way:?}");
        // And disturbs nobody who does not.
        assert_eq!(chain.client.answer_with("a".into(), "b".into()).await.expect("a reply"), 7);
        let (_, none) = chain.client.look(false).with_metadata().await.expect("a reply");
        assert!(none.is_empty());
    }
}

#[tokio::test]
async fn metadata_beyond_the_limit_is_refused_before_anything_runs() {
    let chain = Chain::of(1, Way::Tcp).await;
    let error = chain.client.hold().metadata("tenant", "x".repeat(9_000)).await.expect_err("too much");
    assert_eq!((error.code(), error.executed()), (Code::ResourceExhausted, Executed::No));
    assert_eq!(chain.recorder.executed(), 0);
}

#[tokio::test]
async fn it_goes_along_to_other_tasks_and_threads_when_it_is_told_to() {
    for way in Way::ALL {
        let chain = Chain::of(1, way).await;
        let [spawned, scoped, blocking, plain] =
            chain.client.look_elsewhere().metadata("tenant", "acme").await.expect("a reply");
        assert_eq!(spawned.tenant.as_deref(), Some("acme"), "{way:?}");
        assert_eq!(scoped.tenant.as_deref(), Some("acme"));
        assert_eq!(blocking.tenant.as_deref(), Some("acme"));
        assert_eq!((spawned.method.as_deref(), &spawned), (Some("look_elsewhere"), &scoped));
        assert_eq!(plain, Seen::default());
    }
}

// ---- what nested calls inherit ----

#[tokio::test(start_paused = true)]
async fn the_deadline_is_the_minimum_of_all_hops() {
    for way in [Way::Memory, Way::InProcess] {
        let chain = Chain::of(3, way).await;
        for (outer, inner, expected) in [
            (Some(5_000), vec![], Some(5_000)),
            (Some(5_000), vec![9_000, 9_000], Some(5_000)),
            (Some(9_000), vec![5_000], Some(5_000)),
            (Some(9_000), vec![9_000, 5_000], Some(5_000)),
            (Some(7_000), vec![5_000, 9_000], Some(5_000)),
            (None, vec![5_000, 9_000], Some(5_000)),
            (None, vec![], None),
        ] {
            let mut call = chain.client.pass_on(inner.clone());
            if let Some(outer) = outer {
                call = call.timeout(Duration::from_millis(outer));
            }
            let seen = call.await.expect("a reply");
            assert_eq!(seen.millis_left.is_some(), expected.is_some(), "{way:?}");
            if let (Some(left), Some(expected)) = (seen.millis_left, expected) {
                assert!((expected - 10..=expected).contains(&left), "{outer:?} {inner:?}: {left} ms left");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_ends_the_whole_chain() {
    for way in [Way::Memory, Way::InProcess] {
        let mut chain = Chain::of(3, way).await;
        let error = chain.client.hold().timeout(Duration::from_secs(2)).await.expect_err("nobody ends it");
        assert_eq!(error.code(), Code::DeadlineExceeded);
        dropped(&mut chain.events, 3).await;
    }
}

/// The nested call was not executed. The one in whose handler it was made was.
#[tokio::test]
async fn the_error_of_a_nested_call_does_not_say_whether_the_outer_one_was_executed() {
    for way in Way::ALL {
        let chain = Chain::of(2, way).await;
        let error = chain.client.pass_on(vec![0]).await.expect_err("the inner deadline has passed");
        assert_eq!((error.code(), error.executed()), (Code::DeadlineExceeded, Executed::Yes), "{way:?}");
    }
}

#[tokio::test]
async fn metadata_is_not_passed_on() {
    for way in Way::ALL {
        let chain = Chain::of(2, way).await;
        let seen = chain.client.pass_on(vec![]).metadata("tenant", "acme").await.expect("a reply");
        assert_eq!((seen.tenant, seen.texts), (None, 0), "{way:?}");
    }
}

/// Waits until so many handlers have started and have been dropped.
async fn dropped(events: &mut Events, count: u64) {
    let mut missing: Vec<_> =
        (0..count).flat_map(|number| [Event::Started(number), Event::Dropped(number)]).collect();
    while !missing.is_empty() {
        let event = events.next().await;
        let at = missing.iter().position(|other| *other == event);
        missing.remove(at.unwrap_or_else(|| panic!("{event:?} among {missing:?}")));
    }
}

#[tokio::test]
async fn case_63_a_cancel_goes_down_the_whole_chain() {
    for way in Way::ALL {
        let mut chain = Chain::of(3, way).await;
        let mut call = chain.client.hold();
        tokio::select! {
            _ = &mut call => panic!("nobody ends it"),
            () = chain.events.until(Event::Started(2)) => {}
        }
        let cancelled = std::time::Instant::now();
        drop(call);
        chain.events.until(Event::Dropped(2)).await;
        let took = cancelled.elapsed();
        assert!(took < Duration::from_millis(200), "{took:?}, {way:?}");
    }
}

#[test]
fn case_63_a_chain_that_is_cancelled_leaves_nothing() {
    let begin = async || (Chain::of(3, Way::Memory).await, bystander().await);
    Always::in_memory().holds(begin, async |chain| {
        for _ in 0..10 {
            let mut call = chain.client.hold();
            tokio::select! {
                _ = &mut call => panic!("nobody ends it"),
                () = chain.events.until(Event::Started(2)) => {}
            }
            let cancelled = tokio::time::Instant::now();
            drop(call);
            chain.events.until(Event::Dropped(2)).await;
            let took = cancelled.elapsed();
            assert!(took < Duration::from_millis(200), "{took:?}");
        }
    });
}

#[tokio::test]
async fn case_63_a_lost_connection_ends_the_chain_behind_it() {
    let mut chain = Chain::of(3, Way::Tcp).await;
    let call = tokio::spawn(chain.client.hold());
    chain.events.until(Event::Started(2)).await;
    chain.serving.remove(0).kill().await;
    chain.events.until(Event::Dropped(2)).await;
    let error = patiently("the end of the call", call).await.expect("no panic").expect_err("lost");
    assert_eq!((error.code(), error.executed()), (Code::Unavailable, Executed::Maybe));
}

#[tokio::test]
async fn a_nested_call_on_another_task_is_cancelled_with_its_handler() {
    for way in Way::ALL {
        let mut chain = Chain::of(2, way).await;
        // Whatever way the handler is run: the first calls and later ones differ in that.
        for _ in 0..20 {
            let mut call = chain.client.hold_elsewhere();
            tokio::select! {
                _ = &mut call => panic!("nobody ends it"),
                () = chain.events.until(Event::Started(1)) => {}
            }
            drop(call);
            chain.events.until(Event::Dropped(1)).await;
        }
    }
}

#[tokio::test]
async fn a_handler_that_is_not_to_be_cancelled_can_still_call_others() {
    for way in Way::ALL {
        let mut chain = Chain::of(2, way).await;
        for _ in 0..5 {
            let mut call = chain.client.tidy_up();
            tokio::select! {
                _ = &mut call => panic!("its caller is still there"),
                () = chain.events.until(Event::Started(0)) => {}
            }
            drop(call);
            chain.events.expect(Event::Ended(0)).await;
        }
    }
}

#[tokio::test]
async fn a_task_of_a_handler_learns_that_the_caller_has_gone() {
    for way in Way::ALL {
        let mut chain = Chain::of(1, way).await;
        let mut call = chain.client.wait_in_a_task();
        tokio::select! {
            _ = &mut call => panic!("the gate is shut"),
            event = chain.events.next() => assert_eq!(event, Event::Started(0)),
        }
        drop(call);
        chain.events.until(Event::Cancelled(0)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_of_a_handler_learns_that_the_deadline_has_passed() {
    for way in [Way::Memory, Way::InProcess] {
        let mut chain = Chain::of(1, way).await;
        chain.client.wait_in_a_task().timeout(Duration::from_secs(2)).await.expect_err("too slow");
        chain.events.until(Event::Cancelled(0)).await;
    }
}

#[tokio::test]
async fn a_task_of_a_handler_learns_that_the_connection_is_lost() {
    let mut chain = Chain::of(1, Way::Tcp).await;
    let address = chain.serving[0].address.clone();
    let elsewhere = tokio::runtime::Runtime::new().expect("a runtime");
    elsewhere.spawn(async move {
        let client = HopClient::connect(&address).await.expect("connected");
        client.wait_in_a_task().await
    });
    chain.events.expect(Event::Started(0)).await;
    // Its sockets are closed without a word.
    elsewhere.shutdown_background();
    chain.events.until(Event::Cancelled(0)).await;
}
