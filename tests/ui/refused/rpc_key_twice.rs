use rpc::service;

#[service]
trait Refused {
    #[rpc(idempotent)]
    #[rpc(idempotent)]
    async fn method(&self);
}

fn main() {}
