use rpc::service;

#[service]
trait Refused {
    #[rpc(oneway, idempotent)]
    async fn method(&self);
}

fn main() {}
