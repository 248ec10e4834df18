use rpc::service;

#[service]
trait Refused {
    #[rpc(idempotent = true)]
    async fn method(&self);
}

fn main() {}
