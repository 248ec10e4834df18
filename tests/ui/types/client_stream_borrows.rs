use rpc::{Streaming, service};
use std::rc::Rc;

#[service]
trait Types {
    async fn method(&self, numbers: Streaming<u64>);
}

fn borrows(client: &TypesClient, numbers: &[u64]) {
    drop(client.method(rpc::iter(numbers.iter().copied())));
}

fn stays(client: &TypesClient, one: Rc<u64>) {
    drop(client.method(rpc::iter((0..9).map(move |number| number + *one))));
}

fn main() {}
