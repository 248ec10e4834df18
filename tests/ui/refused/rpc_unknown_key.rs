use rpc::service;

#[service]
trait Refused {
    #[rpc(idempotant)]
    async fn method(&self);
}

fn main() {}
