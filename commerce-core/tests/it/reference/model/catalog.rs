//! Products, stock movements, coupons and carts.

use super::{
    Decision, MAX_BALANCE, MAX_PRICE, MAX_STOCK, Model, invalid, is_amount, is_assignable, is_text,
    next_id, short, validate,
};
use commerce_core::store::{CouponUsage, StockMovement};
use commerce_core::{
    AddCoupon, AddProduct, AdjustStock, Cart, CartEdit, ClaimCoupon, Coupon, CouponId, Discount,
    EditCart, Money, OwnedCoupon, OwnedCouponId, OwnedCouponStatus, Patch, Product, ProductId,
    ProductStatus, Refusal, SalePrice, StockMovementId, Timestamp, UpdateCoupon, UpdateProduct,
};
use serde_json::{Value, json};

impl Model {
    pub(super) fn add_product(&mut self, request: &AddProduct, now: Timestamp) -> Decision {
        validate(&[
            (request.id.is_none_or(|id| is_assignable(id.get())), "/id"),
            (is_text(&request.name), "/name"),
            ((1..=MAX_PRICE).contains(&request.price.minor()), "/price"),
            ((0..=MAX_STOCK).contains(&request.stock), "/stock"),
        ])?;
        if let Some(product_id) = request.id.filter(|id| self.products.contains_key(id)) {
            return Err(Refusal::ProductExists { product_id });
        }
        let next = self.products.last_key_value().map_or(1, |(id, _)| id.get() + 1);
        let id = request.id.unwrap_or(ProductId::new(next));
        let (name, price, status) = (request.name.clone(), request.price, ProductStatus::Active);
        let product = Product {
            id,
            name,
            price,
            regular_price: price,
            sale: None,
            stock: request.stock,
            low_stock_threshold: None,
            limit_per_customer: None,
            status,
        };
        self.products.insert(id, product.clone());
        if request.stock > 0 {
            self.record_movement(id, request.stock, "first stock", now);
        }
        Ok(product.into())
    }

    pub(super) fn update_product(&mut self, request: &UpdateProduct, now: Timestamp) -> Decision {
        let UpdateProduct { product_id, name, price, status, .. } = request;
        let UpdateProduct { sale_price, sale_from, sale_until, low_stock_threshold, .. } = request;
        let limit = request.limit_per_customer;
        let has_period = sale_from.is_some() || *sale_until != Patch::Keep;
        let has_sale = *sale_price != Patch::Keep || has_period;
        let has_terms = has_sale || *low_stock_threshold != Patch::Keep || limit != Patch::Keep;
        let has_change = name.is_some() || price.is_some() || status.is_some() || has_terms;
        let is_price = |price: Money| (1..=MAX_PRICE).contains(&price.minor());
        let is_sale_price = match sale_price {
            Patch::Set(price) => is_price(*price),
            Patch::Remove => !has_period,
            Patch::Keep => true,
        };
        let is_threshold = match low_stock_threshold {
            Patch::Set(threshold) => (0..=MAX_STOCK).contains(threshold),
            Patch::Remove | Patch::Keep => true,
        };
        validate(&[
            (has_change, ""),
            (name.as_deref().is_none_or(is_text), "/name"),
            (price.is_none_or(is_price), "/price"),
            (is_sale_price, "/sale_price"),
            (is_threshold, "/low_stock_threshold"),
            (
                !matches!(limit, Patch::Set(n) if !(1..=MAX_STOCK).contains(&n)),
                "/limit_per_customer",
            ),
        ])?;
        let product = self.product(*product_id)?;
        let stays_archived =
            product.status == ProductStatus::Archived && *status != Some(ProductStatus::Active);
        if stays_archived && (name.is_some() || price.is_some() || has_terms) {
            return Err(Refusal::ProductArchived { product_ids: vec![*product_id] });
        }
        let new_price = price.unwrap_or(product.regular_price);
        let sale =
            if has_sale { sale(product.sale, request, new_price, now)? } else { product.sale };
        let product = self.products.get_mut(product_id).unwrap();
        product.name = name.clone().unwrap_or(product.name.clone());
        (product.price, product.regular_price) = (new_price, new_price);
        product.sale = sale;
        match low_stock_threshold {
            Patch::Set(threshold) => product.low_stock_threshold = Some(*threshold),
            Patch::Remove => product.low_stock_threshold = None,
            Patch::Keep => {}
        }
        match limit {
            Patch::Set(limit) => product.limit_per_customer = Some(limit),
            Patch::Remove => product.limit_per_customer = None,
            Patch::Keep => {}
        }
        product.status = status.unwrap_or(product.status);
        Ok(shown(product, now).into())
    }

    pub(super) fn adjust_stock(&mut self, request: &AdjustStock, now: Timestamp) -> Decision {
        let AdjustStock { product_id, delta, reason } = request;
        let is_delta = *delta != 0 && (-MAX_STOCK..=MAX_STOCK).contains(delta);
        validate(&[(is_delta, "/delta"), (is_text(reason), "/reason")])?;
        let available = self.product(*product_id)?.stock;
        if *delta > 0 && available + delta > MAX_STOCK {
            return Err(invalid(["/delta".to_owned()]));
        }
        if available + delta < 0 {
            return Err(short(*product_id, -delta, available));
        }
        self.record_movement(*product_id, *delta, reason, now);
        let product = self.products.get_mut(product_id).unwrap();
        product.stock += delta;
        Ok(shown(product, now).into())
    }

    pub(super) fn record_movement(
        &mut self,
        product_id: ProductId,
        delta: i64,
        reason: &str,
        at: Timestamp,
    ) {
        let id = StockMovementId::new(next_id(self.movements.len()));
        let reason = reason.to_owned();
        self.movements.push(StockMovement {
            id,
            product_id,
            delta,
            reason,
            actor: None,
            created_at: at,
        });
    }

    pub(super) fn add_coupon(&mut self, request: &AddCoupon, now: Timestamp) -> Decision {
        let valid_from = request.valid_from.unwrap_or(now);
        let (is_discount, pointer, is_cap) = match request.discount {
            Discount::Fixed { amount } => (is_amount(amount), "/discount/amount", true),
            Discount::Percent { percent, max_amount } => {
                let is_percent = (1..=100).contains(&percent);
                (is_percent, "/discount/percent", max_amount.is_none_or(is_amount))
            }
        };
        validate(&[
            (is_text(&request.name), "/name"),
            ((1..=MAX_STOCK).contains(&request.quantity), "/quantity"),
            (is_discount, pointer),
            (is_cap, "/discount/max_amount"),
            (request.min_order_amount.is_none_or(is_amount), "/min_order_amount"),
            (request.valid_until.is_none_or(|until| until > valid_from), "/valid_until"),
        ])?;
        let id = CouponId::new(next_id(self.coupons.len()));
        let coupon = Coupon {
            below_minimum: request.below_minimum,
            id,
            name: request.name.clone(),
            discount: request.discount,
            min_order_amount: request.min_order_amount,
            quantity: request.quantity,
            issued: 0,
            valid_from,
            valid_until: request.valid_until,
            stopped_at: None,
            usage: CouponUsage::default(),
        };
        self.coupons.insert(id, coupon.clone());
        Ok(coupon.into())
    }

    pub(super) fn update_coupon(&mut self, request: &UpdateCoupon, now: Timestamp) -> Decision {
        let UpdateCoupon { coupon_id, name, quantity, valid_until, stopped } = request;
        let has_change = name.is_some()
            || quantity.is_some()
            || stopped.is_some()
            || *valid_until != Patch::Keep;
        validate(&[
            (has_change, ""),
            (name.as_deref().is_none_or(is_text), "/name"),
            (quantity.is_none_or(|quantity| (1..=MAX_STOCK).contains(&quantity)), "/quantity"),
        ])?;
        let Some(coupon) = self.coupons.get_mut(coupon_id) else {
            let (coupon_id, owned_coupon_id) = (Some(*coupon_id), None);
            return Err(Refusal::CouponNotFound { coupon_id, owned_coupon_id });
        };
        let end = match valid_until {
            Patch::Set(end) => Some(*end),
            Patch::Remove => None,
            Patch::Keep => coupon.valid_until,
        };
        validate(&[
            (quantity.is_none_or(|quantity| quantity >= coupon.issued), "/quantity"),
            (end.is_none_or(|end| end > coupon.valid_from), "/valid_until"),
        ])?;
        coupon.name = name.clone().unwrap_or(coupon.name.clone());
        coupon.quantity = quantity.unwrap_or(coupon.quantity);
        coupon.valid_until = end;
        match stopped {
            Some(true) if coupon.stopped_at.is_none() => coupon.stopped_at = Some(now),
            Some(false) => coupon.stopped_at = None,
            _ => {}
        }
        let coupon = coupon.clone();
        Ok(coupon.into())
    }

    pub(super) fn claim_coupon(&mut self, request: &ClaimCoupon, now: Timestamp) -> Decision {
        let ClaimCoupon { coupon_id, customer_id } = *request;
        self.known(customer_id)?;
        let Some(coupon) = self.coupons.get_mut(&coupon_id) else {
            let (coupon_id, owned_coupon_id) = (Some(coupon_id), None);
            return Err(Refusal::CouponNotFound { coupon_id, owned_coupon_id });
        };
        let is_claim =
            |owned: &&OwnedCoupon| (owned.coupon_id, owned.customer_id) == (coupon_id, customer_id);
        if let Some(OwnedCoupon { id, rank, .. }) = self.owned_coupons.values().find(is_claim) {
            let (owned_coupon_id, rank) = (*id, *rank);
            return Err(Refusal::CouponAlreadyClaimed { coupon_id, owned_coupon_id, rank });
        }
        // A stopped campaign ends for claims as at the end of its window, whatever the time.
        let end = [coupon.valid_until, coupon.stopped_at].into_iter().flatten().min();
        check_window(&Coupon { valid_until: end, ..coupon.clone() }, now)?;
        if let Some(valid_until) = end.filter(|_| coupon.stopped_at.is_some()) {
            return Err(Refusal::CouponExpired { coupon_id, valid_until });
        }
        if coupon.issued == coupon.quantity {
            return Err(Refusal::CouponSoldOut { coupon_id, quantity: coupon.quantity });
        }
        coupon.issued += 1;
        let owned = OwnedCoupon {
            id: OwnedCouponId::new(next_id(self.owned_coupons.len())),
            coupon_id,
            customer_id,
            rank: coupon.issued,
            status: OwnedCouponStatus::Held,
            order_id: None,
            claimed_at: now,
        };
        self.owned_coupons.insert(owned.id, owned.clone());
        Ok(owned.into())
    }

    pub(super) fn edit_cart(&mut self, request: &EditCart, now: Timestamp) -> Decision {
        let quantities = match request.edit {
            CartEdit::Set(_, quantity) => (0..=MAX_STOCK).contains(&quantity),
            CartEdit::Add(_, quantity) => (1..=MAX_STOCK).contains(&quantity),
            CartEdit::Remove(_) | CartEdit::Clear => true,
        };
        validate(&[(quantities, "/quantity")])?;
        self.known(request.customer_id)?;
        let mut lines = self.carts.get(&request.customer_id).cloned().unwrap_or_default();
        match request.edit {
            CartEdit::Clear => lines.clear(),
            CartEdit::Remove(product_id) | CartEdit::Set(product_id, 0) => {
                lines.remove(&product_id).ok_or(Refusal::NotInCart { product_id })?;
            }
            CartEdit::Set(id, quantity) | CartEdit::Add(id, quantity) => {
                let is_added = matches!(request.edit, CartEdit::Add(..));
                let before = lines.get(&id).copied().filter(|_| is_added).unwrap_or(0);
                let Product { stock, status, .. } = *self.product(id)?;
                if status == ProductStatus::Archived {
                    return Err(Refusal::ProductArchived { product_ids: vec![id] });
                }
                if before + quantity > stock {
                    return Err(short(id, before + quantity, stock));
                }
                lines.insert(id, before + quantity);
            }
        }
        let items = lines.iter().map(|(id, quantity)| {
            let Product { id: product_id, name, regular_price, stock, status, .. } =
                self.products[id].clone();
            let price = price_at(&self.products[id], now);
            let amount = capped(i128::from(price.minor()) * i128::from(*quantity));
            let item = json!({
                "product_id": product_id, "name": name, "unit_price": price, "regular_price": regular_price,
                "quantity": quantity, "amount": amount, "stock": stock, "status": status,
            });
            (i128::from(amount.minor()), item)
        });
        let (amounts, items): (Vec<i128>, Vec<Value>) = items.unzip();
        let total = capped(amounts.into_iter().sum());
        self.carts.insert(request.customer_id, lines);
        let cart = json!({ "customer_id": request.customer_id, "items": items, "total": total });
        Ok(serde_json::from_value::<Cart>(cart).unwrap().into())
    }
}

/// Returns the sale after an update that changes it.
fn sale(
    before: Option<SalePrice>,
    request: &UpdateProduct,
    regular_price: Money,
    now: Timestamp,
) -> Result<Option<SalePrice>, Refusal> {
    let is_over = |sale: &SalePrice| sale.until.is_some_and(|until| until <= now);
    let before = before.filter(|sale| !is_over(sale));
    let price = match (request.sale_price, before) {
        (Patch::Remove, _) => return Ok(None),
        (Patch::Set(price), _) => price,
        (Patch::Keep, Some(before)) => before.price,
        (Patch::Keep, None) => return Err(invalid(["/sale_price".to_owned()])),
    };
    let from = match (request.sale_from, before) {
        (Some(from), _) => from,
        (None, Some(before)) => before.from,
        (None, None) => now,
    };
    let until = match (request.sale_until, before) {
        (Patch::Set(until), _) => Some(until),
        (Patch::Keep, Some(before)) => before.until,
        (Patch::Keep, None) | (Patch::Remove, _) => None,
    };
    validate(&[
        (price < regular_price, "/sale_price"),
        (until.is_none_or(|until| until > from), "/sale_until"),
    ])?;
    Ok(Some(SalePrice { price, from, until }))
}

/// Returns the price of a unit: that of a sale in its half-open period, unless the regular one is lower.
pub(super) fn price_at(product: &Product, now: Timestamp) -> Money {
    match product.sale {
        Some(SalePrice { price, from, until })
            if from <= now && until.is_none_or(|until| now < until) =>
        {
            price.min(product.regular_price)
        }
        _ => product.regular_price,
    }
}

/// Returns a product as it is shown: with the price of now, and without a sale that is over.
fn shown(product: &Product, now: Timestamp) -> Product {
    let is_over = |sale: &SalePrice| sale.until.is_some_and(|until| until <= now);
    let sale = product.sale.filter(|sale| !is_over(sale));
    Product { price: price_at(product, now), sale, ..product.clone() }
}

/// Checks that `now` is in the half-open window of a campaign.
pub(super) fn check_window(coupon: &Coupon, now: Timestamp) -> Result<(), Refusal> {
    let (coupon_id, valid_from) = (coupon.id, coupon.valid_from);
    if now < valid_from {
        return Err(Refusal::CouponNotStarted { coupon_id, valid_from });
    }
    match coupon.valid_until {
        Some(valid_until) if valid_until <= now => {
            Err(Refusal::CouponExpired { coupon_id, valid_until })
        }
        _ => Ok(()),
    }
}

pub(super) fn capped(amount: i128) -> Money {
    Money::from_minor(i64::try_from(amount).unwrap_or(i64::MAX).min(MAX_BALANCE))
}
