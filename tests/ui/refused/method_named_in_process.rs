use rpc::service;

#[service]
trait Refused {
    async fn in_process(&self);
}

fn main() {}
