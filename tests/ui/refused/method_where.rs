use rpc::service;

#[service]
trait Refused {
    async fn method(&self)
    where
        Self: Sized;
}

fn main() {}
