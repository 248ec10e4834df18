use rpc::service;

#[service]
trait Refused {
    async fn method<const N: usize>(&self);
}

fn main() {}
