use rpc::service;

#[service]
trait Refused {
    #[rpc(retries = 3)]
    async fn method(&self);
}

fn main() {}
