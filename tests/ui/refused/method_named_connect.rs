use rpc::service;

#[service]
trait Refused {
    async fn connect(&self);
}

fn main() {}
