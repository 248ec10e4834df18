use rpc::service;

#[service]
trait Refused<T>
where
    T: Into<Self>,
{
}

fn main() {}
