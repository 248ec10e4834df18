use rpc::service;

#[service]
trait Refused {
    async fn method<'a>(&self);
}

fn main() {}
