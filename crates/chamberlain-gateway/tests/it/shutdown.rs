//! The end: what has begun is ended, what has not is not.

use std::time::Duration;

use chamberlain_core::record::Outcome;
use tokio::net::TcpStream;

use crate::client::piece;
use crate::upstream::{Answer, data, events, message};
use crate::world::World;

#[tokio::test]
async fn calls_in_flight_end_and_no_new_ones_begin() {
    let mut world = World::new().await;
    let (pieces, answer) = Answer::pieces("text/event-stream");
    world.upstream.then_answer(answer);
    let mut connection = world.connect().await;
    pieces.send(data(events()[0])).ok().unwrap();
    let mut body = connection.send(world.stream()).await.unwrap().into_body();
    piece(&mut body).await;
    let mut idle = world.connect().await;
    assert_eq!(idle.ask(world.message()).await.status, 200);

    world.stop.cancel();
    world
        .until("the door is shut", |world| {
            std::net::TcpStream::connect_timeout(&world.address, Duration::from_millis(50)).is_err()
        })
        .await;
    assert!(idle.send(world.message()).await.is_err(), "idle connections are closed");
    assert!(!world.serving.is_finished());
    for event in &events()[1..] {
        pieces.send(data(event)).ok().unwrap();
        assert_eq!(piece(&mut body).await, *event);
    }
    drop(pieces);
    assert!(http_body_util::BodyExt::frame(&mut body).await.is_none());
    (&mut world.serving).await.unwrap();
    world.settled(2).await;
    assert!(TcpStream::connect(world.address).await.is_err());
}

#[tokio::test]
async fn calls_whose_clients_left_are_waited_for() {
    let mut world = World::new().await;
    let slow = Answer::json(200, message()).after(Duration::from_millis(200));
    world.upstream.then_answer(slow);
    let mut connection = world.connect().await;
    tokio::select! {
        _ = connection.send(world.message()) => panic!("answered"),
        () = world.until("the call", |world| world.upstream.arrived().len() == 1) => {}
    }
    drop(connection);
    world.stop.cancel();
    (&mut world.serving).await.unwrap();
    let settlements = world.journal.settlements();
    assert_eq!((settlements.len(), settlements[0].outcome), (1, Outcome::ClientLeft));
}
