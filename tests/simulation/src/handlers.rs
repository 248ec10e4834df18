//! The handlers of either side: they do what their plan says, and write into the ledger what they do.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rpc::{CallError, Code, Limits, Stream, Streaming};
use tokio::time::{Instant, sleep};

use crate::invariants;
use crate::items::{Echoes, Gate, Items, Plain, item_of};
use crate::ledger::{Call, Family, Running, failed};
use crate::services::*;
use crate::together::all;
use crate::trace::{Actor, Step};
use crate::world::World;

/// Who serves.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    pub(crate) world: Arc<World>,
    pub(crate) actor: Actor,
    pub(crate) limits: Limits,
}

impl Desk {
    fn begin(&self, number: Number, family: Family, cancellable: bool) -> Running {
        let limit = match family {
            Family::Call | Family::OneWay => self.limits.calls(),
            Family::Stream => self.limits.streams(),
        };
        self.world.begin(self.actor, number, (family, limit), cancellable)
    }

    fn check(&self, number: Number, payload: &[u8]) {
        if payload != fill(number, ARGUMENT, payload.len()) {
            invariants::i3_garbled(&self.world, number, "an argument");
        }
        let metadata = rpc::Context::current().metadata("number");
        if metadata.is_some_and(|metadata| metadata != number.to_string()) {
            invariants::i3_garbled(&self.world, number, "its metadata");
        }
    }

    /// Does what a plan says; gives what the call back failed with, if there is one.
    async fn go(&self, number: Number, plan: &Plan) -> Result<(), rpc::Error> {
        for _ in 0..plan.yields {
            tokio::task::yield_now().await;
        }
        let called = match &plan.back {
            Some(back) => self.call_back(number, back).await,
            None => Ok(()),
        };
        for wait in &plan.waits {
            sleep(Duration::from_millis(u64::from(*wait))).await;
        }
        match plan.end {
            End::Panic => std::panic::resume_unwind(Box::new("planned")),
            End::Never => std::future::pending().await,
            _ => called,
        }
    }

    /// Does a call of which one value is the reply.
    async fn answer(
        &self,
        running: Running,
        number: Number,
        plan: &Plan,
        payload: &[u8],
    ) -> Result<Echo, Refusal> {
        self.check(number, payload);
        // What became of the call back is in the book.
        let _ = self.go(number, plan).await;
        running.replies();
        match plan.end {
            End::App => Err(Refusal { number }),
            _ => Ok(echo(number, plan, payload)),
        }
    }

    async fn call_back(&self, by: Number, back: &Back) -> Result<(), rpc::Error> {
        let context = rpc::Context::current();
        let own = back.timeout.map(|millis| Duration::from_millis(u64::from(millis)));
        let left = context.deadline().map(|deadline| Instant::from_std(deadline) - Instant::now());
        let timeout = own.into_iter().chain(left).min();
        let method = if back.stream { "down" } else { "echo" };
        let call = Call { timeout, by: Some(by), ..Call::new(self.actor, method, back.plan.end) };
        let open = self.world.open(call, |number| Step::CallsBack { number, by, timeout });
        let number = open.number;
        let since = Instant::now();
        let peer = context.peer();
        if back.stream {
            let mut call = peer.client::<FlowClient>().down(number, back.plan.clone());
            if let Some(own) = own {
                call = call.timeout(own);
            }
            let given = match call.await {
                Ok(items) => self.world.consume(number, &back.plan, items, Duration::ZERO, None).await,
                Err(error) => Some((since, failed::<Refusal>(error))),
            };
            let Some((since, result)) = given else { return Ok(()) };
            open.settle(since, &result);
            return rpc_error(result);
        }
        let payload = fill(number, ARGUMENT, 50);
        let mut call = peer.client::<WorkClient>().echo(number, back.plan.clone(), payload.clone());
        if let Some(own) = own {
            call = call.timeout(own);
        }
        let result = call.await.map(|echo| self.world.check_echo(number, &back.plan, &payload, &echo));
        open.settle(since, &result);
        rpc_error(result)
    }
}

/// The failure of a call as a call, as a handler hands it on.
fn rpc_error<T, E>(result: Result<T, CallError<E>>) -> Result<(), rpc::Error> {
    match result {
        Err(CallError::Rpc(error)) => Err(error),
        Ok(_) | Err(CallError::App(_)) => Ok(()),
    }
}

fn echo(number: Number, plan: &Plan, payload: &[u8]) -> Echo {
    Echo {
        number,
        hash: hash(payload),
        payload: fill(number, REPLY, plan.reply_bytes as usize),
        bomb: plan.end == End::Bomb,
    }
}

impl World {
    /// Whether a reply is the one to this call.
    pub(crate) fn check_echo(&self, number: Number, plan: &Plan, payload: &[u8], echo: &Echo) {
        let right = echo.number == number
            && echo.hash == hash(payload)
            && echo.payload == fill(number, REPLY, plan.reply_bytes as usize);
        if !right {
            invariants::i3_garbled(self, number, &format!("the reply, which is that to {},", echo.number));
        }
    }

    /// Takes the items of a stream, one by one, with a pause after each; gives since when it has waited for the end, and
    /// what that was, or nothing if it was to take so many only.
    pub(crate) async fn consume<E: rpc::MethodError<CallError: Into<CallError<Refusal>>>>(
        &self,
        number: Number,
        plan: &Plan,
        mut items: Streaming<Item, E>,
        pause: Duration,
        take: Option<u32>,
    ) -> Option<(Instant, Result<(), CallError<Refusal>>)> {
        let mut index = 0;
        loop {
            if take == Some(index) {
                return None;
            }
            let since = Instant::now();
            match items.next().await {
                Some(Ok(item)) => {
                    self.check_item(number, index, plan, &item);
                    index += 1;
                    if pause > Duration::ZERO {
                        sleep(pause).await;
                    }
                }
                end => {
                    let whole = index == u32::from(plan.items);
                    let result = match end {
                        Some(Err(error)) => Err(error.into()),
                        _ => Ok(()),
                    };
                    if !whole && matches!(result, Ok(()) | Err(CallError::App(_))) {
                        let what = format!("a stream of {} items, which ends after {index},", plan.items);
                        invariants::i3_garbled(self, number, &what);
                    }
                    if items.next().await.is_some() {
                        invariants::i1_two_ends(self, number);
                    }
                    return Some((since, result));
                }
            }
        }
    }

    fn check_item(&self, number: Number, index: u32, plan: &Plan, item: &Item) {
        if *item != item_of(number, index, plan.item_bytes) {
            let what = format!("item {index}, which is item {} of call {},", item.index, item.number);
            invariants::i3_garbled(self, number, &what);
        }
    }
}

impl Work for Desk {
    async fn echo(&self, number: Number, plan: Plan, payload: Bytes) -> Result<Echo, Refusal> {
        self.answer(self.begin(number, Family::Call, true), number, &plan, &payload).await
    }

    async fn look(&self, number: Number, plan: Plan, payload: &[u8]) -> Result<Echo, Refusal> {
        self.answer(self.begin(number, Family::Call, true), number, &plan, payload).await
    }

    async fn finish(&self, number: Number, plan: Plan, payload: Bytes) -> Result<Echo, Refusal> {
        self.answer(self.begin(number, Family::Call, false), number, &plan, &payload).await
    }

    async fn quick(&self, number: Number, plan: Plan, payload: Bytes) -> Result<Echo, Refusal> {
        self.answer(self.begin(number, Family::Call, true), number, &plan, &payload).await
    }

    async fn heavy(&self, number: Number, plan: Plan, payload: Bytes) -> Result<Echo, Refusal> {
        self.answer(self.begin(number, Family::Call, true), number, &plan, &payload).await
    }

    async fn relay(&self, number: Number, plan: Plan, payload: Bytes) -> Result<Echo, rpc::Error> {
        let running = self.begin(number, Family::Call, true);
        self.check(number, &payload);
        self.go(number, &plan).await?;
        running.replies();
        match plan.end {
            End::Code => Err(rpc::Error::new(Code::Aborted, "planned")),
            _ => Ok(echo(number, &plan, &payload)),
        }
    }

    async fn tell(&self, number: Number, plan: Plan, payload: Bytes) {
        let running = self.begin(number, Family::OneWay, true);
        self.check(number, &payload);
        let _ = self.go(number, &plan).await;
        running.replies();
    }
}

impl Flow for Desk {
    async fn down(&self, number: Number, plan: Plan) -> impl Stream<Item = Result<Item, Refusal>> {
        let running = self.begin(number, Family::Stream, true);
        // The stream ends as the plan says, not the handler.
        let waits = Plan { end: End::Value, ..plan.clone() };
        let _ = self.go(number, &waits).await;
        Items::new(number, &plan, Some(running))
    }

    async fn open(&self, number: Number, plan: Plan) -> Result<impl Stream<Item = Item>, Refusal> {
        let running = self.begin(number, Family::Stream, true);
        let _ = self.go(number, &plan).await;
        if plan.end == End::App {
            Err(Refusal { number })
        } else {
            Ok(Plain(Items::new(number, &plan, Some(running))))
        }
    }

    async fn up(&self, number: Number, plan: Plan, mut items: Streaming<Item>) -> Result<Sum, rpc::Error> {
        let running = self.begin(number, Family::Stream, true);
        let mut sum = Sum { number, items: 0, hash: 0 };
        while let Some(item) = items.next().await {
            let item = item?;
            self.world.check_item(number, sum.items, &plan, &item);
            sum.add(&item);
            if plan.item_pause > 0 {
                sleep(Duration::from_millis(u64::from(plan.item_pause))).await;
            }
        }
        self.go(number, &plan).await?;
        running.replies();
        if plan.end == End::Code { Err(rpc::Error::new(Code::Aborted, "planned")) } else { Ok(sum) }
    }

    async fn both(
        &self,
        number: Number,
        plan: Plan,
        items: Streaming<Item>,
    ) -> impl Stream<Item = Result<Item, rpc::Error>> {
        let running = self.begin(number, Family::Stream, true);
        let _ = self.go(number, &plan).await;
        Echoes::new(items, running)
    }
}

impl Probe for Desk {
    async fn alive(&self) -> bool {
        true
    }

    async fn meet(&self, batch: u32, count: u32) -> u32 {
        self.world.meet(batch, count).await
    }

    async fn meet_streaming(&self, batch: u32, count: u32, bytes: u32) -> impl Stream<Item = Bytes> {
        let world = self.world.clone();
        Gate::new(batch, bytes, async move {
            world.meet(batch, count).await;
        })
    }

    async fn gather(&self, batch: u32, count: u32) -> u32 {
        let caller: ProbeClient = rpc::Context::current().peer().client();
        let met = all((0..count).map(|_| caller.meet(batch, count))).await;
        met.into_iter().filter(Result::is_ok).count() as u32
    }
}

impl Sum {
    pub(crate) fn add(&mut self, item: &Item) {
        self.items += 1;
        self.hash = self.hash.rotate_left(5) ^ hash(&item.payload);
    }
}
