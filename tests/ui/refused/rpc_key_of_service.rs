use rpc::service;

#[service]
trait Refused {
    #[rpc(compact)]
    async fn method(&self);
}

fn main() {}
