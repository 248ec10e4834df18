use rpc::service;

#[service]
trait Refused {
    async fn new(&self);
}

fn main() {}
