use rpc::{Stream, service};
use std::rc::Rc;

#[service]
trait Types {
    async fn method(&self, to: u64) -> impl Stream<Item = u64> {
        let shared = Rc::new(to);
        rpc::iter((0..to).map(move |number| number + *shared))
    }
}

fn main() {}
