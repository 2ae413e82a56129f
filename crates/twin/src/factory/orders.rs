//! Live orders, one per machine at most: those that somebody can work on in one slice, as the deciding code wants them, the
//! others aside (the machine is on a truck, a part is lacking, a person must look).

use fleet::order::{Order, OrderState};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    None,
    Ready(usize),
    Aside(usize),
}

#[derive(Default)]
pub struct Orders {
    ready: Vec<Order>,
    aside: Vec<Order>,
    places: Vec<Place>,
}

/// Machines' ids count from 1, in the site file's order.
pub fn index(order: &Order) -> usize {
    usize::try_from(order.machine.0).unwrap_or(usize::MAX).saturating_sub(1)
}

impl Orders {
    pub fn of(machines: usize) -> Orders {
        Orders { places: vec![Place::None; machines], ..Orders::default() }
    }

    pub fn ready(&self) -> &[Order] {
        &self.ready
    }

    pub fn aside(&self) -> &[Order] {
        &self.aside
    }

    pub fn all(&self) -> Vec<Order> {
        self.ready.iter().chain(&self.aside).cloned().collect()
    }

    pub fn get(&self, machine: usize) -> Option<&Order> {
        match self.places[machine] {
            Place::None => None,
            Place::Ready(at) => self.ready.get(at),
            Place::Aside(at) => self.aside.get(at),
        }
    }

    /// Puts an order where it stands now; one that is over goes.
    pub fn put(&mut self, order: Order, workable: bool) {
        let machine = index(&order);
        self.take(machine);
        if !matches!(order.state, OrderState::Open | OrderState::Held) {
            return;
        }
        let (list, place) = match workable && order.state == OrderState::Open {
            true => (&mut self.ready, Place::Ready as fn(usize) -> Place),
            false => (&mut self.aside, Place::Aside as fn(usize) -> Place),
        };
        self.places[machine] = place(list.len());
        list.push(order);
    }

    /// An order that stays where it stands.
    pub fn replace(&mut self, order: Order) {
        let slot = match self.places[index(&order)] {
            Place::Ready(at) => self.ready.get_mut(at),
            Place::Aside(at) => self.aside.get_mut(at),
            Place::None => None,
        };
        if let Some(slot) = slot {
            *slot = order;
        }
    }

    pub fn take(&mut self, machine: usize) -> Option<Order> {
        let (list, at, place) = match self.places[machine] {
            Place::None => return None,
            Place::Ready(at) => (&mut self.ready, at, Place::Ready as fn(usize) -> Place),
            Place::Aside(at) => (&mut self.aside, at, Place::Aside as fn(usize) -> Place),
        };
        let order = list.swap_remove(at);
        if let Some(moved) = list.get(at) {
            self.places[index(moved)] = place(at);
        }
        self.places[machine] = Place::None;
        Some(order)
    }
}
