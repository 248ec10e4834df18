use rpc::service;

#[service]
trait Refused {
    #[rpc(inline, spawn)]
    async fn method(&self);
}

fn main() {}
