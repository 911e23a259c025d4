// The page /report. It asks for the reports of the chosen window, draws them, and asks again while it is visible.
"use strict";

// Sales are asked for every ten seconds. The other reports follow when an event was counted since, at most once a
// minute, because some of them read whole tables; and every five minutes, for changes without an event.
const SALES_PERIOD = 10_000;
const LEAST_REST_PERIOD = 60_000;
const MOST_REST_PERIOD = 300_000;

const DAY = 86_400_000;
const WINDOWS = [1, 7, 28, 90, 364, "other"];
const FIGURES = ["net", "orders", "units", "average_order", "first_orders", "refunds"];
const AMOUNTS = ["net", "average_order", "refunds"];
const STOCK_DAYS = 30;

// Browsers list these zones by names that their places no longer have.
const RENAMED = {
    "Asia/Calcutta": "Asia/Kolkata",
    "Asia/Katmandu": "Asia/Kathmandu",
    "Asia/Rangoon": "Asia/Yangon",
    "Asia/Saigon": "Asia/Ho_Chi_Minh",
    "Europe/Kiev": "Europe/Kyiv",
};
const ZONES = [...new Set(["UTC", ...Intl.supportedValuesOf("timeZone").map((name) => RENAMED[name] ?? name)])];

const at = (id) => document.getElementById(id);

// The token of the session lives in this tab only; the choices stay in the browser.
const TOKEN = "commerce-token";
const CHOICES = "commerce-report";
let token = sessionStorage.getItem(TOKEN);
const choices = {
    language: navigator.languages.some((name) => name.startsWith("ko")) ? "ko" : "en",
    days: 7,
    first: "",
    last: "",
    compare: "previous",
    basis: "booked",
    zone: "",
    figure: "net",
    rankBy: "units",
    ...JSON.parse(localStorage.getItem(CHOICES) ?? "{}"),
};

// The newest answers, and the instant of the rest of them.
const seen = { sales: null, hours: null, rest: null, restAt: 0, event: null, at: 0, shopZone: "", skew: 0 };
let timer = 0;
let turn = 0;

const words = () => WORDS[choices.language];

// Elements.

function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
        if (value !== null) {
            made.setAttribute(key, value);
        }
    }
    made.append(...children);
    return made;
}

// A table with a header row. A cell is a text, an element, or [content, class].
function table(caption, heads, rows) {
    const cell = (name) => (content) => {
        const [inner, kind] = Array.isArray(content) ? content : [content, null];
        return element(name, { class: kind, scope: name === "th" ? "col" : null }, inner);
    };
    return element(
        "table",
        {},
        element("caption", { class: "hidden" }, caption),
        element("thead", {}, element("tr", {}, ...heads.map(cell("th")))),
        element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map(cell("td"))))),
    );
}

function segments(fieldset, legend, options, chosen, choose) {
    fieldset.replaceChildren(
        element("legend", { class: "hidden" }, legend),
        ...options.map(([value, text]) => {
            const button = element("button", { type: "button", "aria-pressed": String(value === chosen), "data-value": value }, text);
            button.addEventListener("click", () => choose(value));
            return button;
        }),
    );
}

function fillSelect(select, options, chosen) {
    select.replaceChildren(...options.map(([value, text]) => element("option", { value }, text)));
    select.value = chosen;
}

// Numbers and instants.

function money(minor, options = {}) {
    const currency = seen.sales.currency;
    const format = new Intl.NumberFormat(choices.language, { style: "currency", currency, currencyDisplay: "narrowSymbol", ...options });
    const { maximumFractionDigits: digits } = new Intl.NumberFormat("en", { style: "currency", currency }).resolvedOptions();
    return format.format(minor / 10 ** digits);
}

const count = (number, options) => new Intl.NumberFormat(choices.language, options).format(number);

const percent = (part) => count(part, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });

function show(figure, value, compact = false) {
    const options = compact ? { notation: "compact", minimumFractionDigits: 0, maximumFractionDigits: 1 } : {};
    return AMOUNTS.includes(figure) ? money(value, options) : count(value, options);
}

const when = (instant, options) =>
    new Intl.DateTimeFormat(choices.language, { timeZone: seen.sales.zone, ...options }).format(instant);

const clock = (instant) => when(instant, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

// A window begins a second after its `from`.
const start = (window) => Date.parse(window.from) + 1000;
const end = (window) => Date.parse(window.to);

const localDate = (instant, timeZone) => new Intl.DateTimeFormat("sv", { timeZone }).format(instant);

// The last second of a local day, found by halving: days have 23 to 25 hours, and begin where the clock says.
function endOfDay(date, zone) {
    let [low, high] = [Date.parse(date) - DAY, Date.parse(date) + 3 * DAY];
    while (high - low > 1000) {
        const middle = low + Math.floor((high - low) / 2000) * 1000;
        [low, high] = localDate(middle, zone) <= date ? [middle, high] : [low, middle];
    }
    return new Date(low).toISOString();
}

// The present instant by the clock of the server.
const now = () => Date.now() + seen.skew;

// Calls.

class Refused extends Error {
    constructor(status, problem, retryAfter) {
        super(problem.detail ?? "");
        Object.assign(this, { status, code: problem.code, retryAfter });
    }
}

async function send(path, options = {}) {
    const headers = { ...options.headers };
    if (token) {
        headers.Authorization = `Bearer ${token}`;
    }
    const response = await fetch(path, { ...options, headers, cache: "no-store" });
    if (!response.ok) {
        const problem = await response.json().catch(() => ({}));
        throw new Refused(response.status, problem, response.headers.get("Retry-After"));
    }
    return response;
}

function target(report, parameters, extra = {}) {
    const given = Object.entries({ ...parameters, ...extra }).filter(([, value]) => value);
    return `/v1/reports/${report}?${new URLSearchParams(given)}`;
}

const report = async (...call) => (await send(target(...call))).json();

// The days of the chosen window, and its end if that is past.
function chosenWindow(zone) {
    if (choices.days !== "other") {
        return { days: choices.days };
    }
    const days = Math.round((Date.parse(choices.last) - Date.parse(choices.first)) / DAY) + 1;
    const isPast = choices.last < localDate(now(), zone);
    return { days, to: isPast ? endOfDay(choices.last, zone) : null };
}

function parameters(zone) {
    const window = chosenWindow(zone);
    const { compare, basis } = choices;
    const by = window.days > 120 ? "week" : "day";
    const last = window.to ? Date.parse(window.to) : now();
    return {
        sales: { ...window, by, compare, basis, zone: choices.zone },
        hours: { days: 1, to: endOfDay(localDate(last, zone), zone), by: "hour", compare, basis, zone: choices.zone },
        products: { by: choices.rankBy, days: window.days, at: window.to, limit: 10 },
        stock: { days: 28 },
        coupons: {},
        balances: { at: window.to },
        events: {},
    };
}

// The zone of the shop and the clock of the server are known from the first answer on.
async function zoneOfDays() {
    if (!seen.shopZone) {
        const { zone, to } = await report("sales", { days: 1 });
        Object.assign(seen, { shopZone: zone, skew: Date.parse(to) - Date.now() });
    }
    return choices.zone || seen.shopZone;
}

async function refresh(all = false) {
    clearTimeout(timer);
    turn += 1;
    const mine = turn;
    try {
        const asked = parameters(await zoneOfDays());
        const [sales, hours] = await Promise.all([report("sales", asked.sales), report("sales", asked.hours)]);
        const age = Date.now() - seen.restAt;
        const isCounted = sales.as_of_event !== seen.event && age > LEAST_REST_PERIOD;
        let rest = seen.rest;
        if (all || !rest || isCounted || age > MOST_REST_PERIOD) {
            const names = ["products", "stock", "coupons", "balances", "events"];
            const answers = await Promise.all(names.map((name) => report(name, asked[name])));
            rest = Object.fromEntries(names.map((name, index) => [name, answers[index]]));
            if (mine === turn) {
                Object.assign(seen, { restAt: Date.now(), event: sales.as_of_event });
            }
        }
        if (mine !== turn) {
            return;
        }
        Object.assign(seen, { sales, hours, rest, at: now() });
        notice("");
        draw();
    } catch (error) {
        if (mine === turn) {
            failed(error);
        }
    }
    if (token && mine === turn && !document.hidden) {
        timer = setTimeout(refresh, SALES_PERIOD);
    }
}

function failed(error) {
    if (!(error instanceof Refused)) {
        notice(words().unreachable(seen.sales ? clock(seen.at) : "-"));
        if (!(error instanceof TypeError)) {
            throw error;
        }
    } else if (error.status === 401 || error.status === 403) {
        leave(error.status === 401 ? words().sessionOver : words().needsAdmin);
    } else if (error.status >= 500) {
        notice(words().unreachable(seen.sales ? clock(seen.at) : "-"));
    } else {
        notice(words().refused(error.message));
    }
}

function notice(text) {
    at("notice").textContent = text;
    at("notice").hidden = !text;
}

// The session.

function enter(given) {
    token = given;
    sessionStorage.setItem(TOKEN, token);
    for (const id of ["name", "password", "token"]) {
        at(id).value = "";
    }
    arrange();
    refresh(true);
}

function leave(reason) {
    clearTimeout(timer);
    turn += 1;
    token = null;
    sessionStorage.removeItem(TOKEN);
    Object.assign(seen, { sales: null, hours: null, rest: null, restAt: 0, event: null, shopZone: "" });
    arrange();
    notice(reason);
}

async function logIn(event) {
    event.preventDefault();
    const body = JSON.stringify({ login: at("name").value, password: at("password").value });
    const headers = { "Content-Type": "application/json" };
    try {
        const session = await (await send("/v1/sessions", { method: "POST", headers, body })).json();
        notice("");
        enter(session.token);
    } catch (error) {
        at("password").value = "";
        if (error instanceof Refused && error.status === 401) {
            notice(words().wrongLogin);
        } else if (error instanceof Refused && error.status === 429) {
            notice(words().slowDown(error.retryAfter));
        } else {
            failed(error);
        }
    }
}

// Drawing.

function arrange() {
    const isIn = Boolean(token);
    at("entrance").hidden = isIn;
    at("report").hidden = !isIn || !seen.sales;
    at("leave").hidden = !isIn;
    at("refresh").hidden = !isIn;
    at("status").textContent = isIn && !seen.sales ? words().loading : "";
    at("window").textContent = "";
    document.documentElement.lang = choices.language;
    for (const worded of document.querySelectorAll("[data-word]")) {
        worded.textContent = words()[worded.dataset.word];
    }
    document.title = `${words().title} - commerce`;
    const other = choices.language === "ko" ? ["en", "English"] : ["ko", "한국어"];
    [at("language").lang, at("language").textContent] = other;
    const lengths = { 1: words().today, 364: words().weeks52, other: words().other };
    segments(at("days"), words().title, WINDOWS.map((days) => [days, lengths[days] ?? words().days(days)]), choices.days, chooseDays);
    at("dates").hidden = choices.days !== "other";
    [at("first").value, at("last").value] = [choices.first, choices.last];
    fillSelect(at("compare"), [["previous", words().previous], ["last-week", words().lastWeek], ["last-year", words().lastYear]], choices.compare);
    fillSelect(at("basis"), [["booked", words().booked], ["standing", words().standing]], choices.basis);
    const shop = seen.shopZone ? `${words().shopZone} (${seen.shopZone})` : words().shopZone;
    fillSelect(at("zone"), [["", shop], ...ZONES.map((name) => [name, name])], choices.zone);
    segments(at("rankBy"), words().products, [["units", words().rankUnits], ["net", words().rankNet], ["rising", words().rankRising]], choices.rankBy, (rankBy) => choose({ rankBy }));
    if (seen.sales) {
        draw();
    }
}

function draw() {
    const isDay = start(seen.sales) + 26 * 3600_000 > end(seen.sales);
    at("report").hidden = false;
    const dates = { year: "numeric", month: "short", day: "numeric", weekday: "short" };
    const [first, last] = [when(start(seen.sales), dates), when(end(seen.sales), dates)];
    at("window").textContent = `${first === last ? first : `${first} – ${last}`} · ${seen.sales.zone}`;
    at("status").textContent = words().updated(when(seen.at, { timeStyle: "medium" }));
    drawFigures();
    drawSales("byHour", seen.hours, words().byHour, (instant) => clock(instant));
    const byWeek = seen.sales.buckets.length > 1 && chosenWindow(seen.sales.zone).days > 120;
    at("byDay").hidden = isDay;
    if (!isDay) {
        const day = { month: "short", day: "numeric" };
        const label = (instant) => when(instant, byWeek ? day : { ...day, weekday: "short" });
        drawSales("byDay", seen.sales, byWeek ? words().byWeek : words().byDay, label, (instant) => when(instant, day));
    }
    drawProducts(seen.rest.products);
    drawStock(seen.rest.stock);
    drawCoupons(seen.rest.coupons);
    drawBalances(seen.rest.balances);
    drawEvents(seen.rest.events);
}

// The change of a figure as a text with a sign, and its tone.
function change(now, before, isGood = true) {
    if (before === 0) {
        return ["", "even"];
    }
    const part = (now - before) / before;
    const tone = part === 0 ? "even" : part > 0 === isGood ? "good" : "bad";
    const sign = { "-1": "▼ ", 0: "", 1: "▲ " }[Math.sign(part)];
    return [sign + percent(Math.abs(part)), tone];
}

function drawFigures() {
    const { totals, previous } = seen.sales;
    const tiles = FIGURES.map((figure) => {
        const [text, tone] = change(totals[figure], previous[figure], figure !== "refunds");
        const none = totals[figure] === 0 ? "" : words().none;
        const before = previous[figure] === 0 ? none : words().before(show(figure, previous[figure]));
        const cancelled = figure === "refunds" ? `${words().cancelledOrders(count(totals.cancelled_orders))} ` : "";
        const tile = element(
            "button",
            { type: "button", class: "card tile", "data-figure": figure, "aria-pressed": String(figure === choices.figure) },
            element("span", { class: "label" }, words()[figure]),
            element("span", { class: "value" }, show(figure, totals[figure])),
            element("span", { class: "change" }, cancelled, element("span", { class: tone }, text), element("span", { class: "before" }, before)),
        );
        tile.addEventListener("click", () => choose({ figure }, false));
        return tile;
    });
    const focused = document.activeElement?.dataset?.figure;
    at("figures").querySelector(".tiles").replaceChildren(...tiles);
    tiles.find((tile) => tile.dataset.figure === focused)?.focus();
}

// A chart of buckets with those of the window before behind them, and its table.
function drawSales(id, sales, title, label, shortLabel = label) {
    const { figure } = choices;
    const card = at(id);
    const [ones, others] = [sales.buckets, sales.previous.buckets];
    const rows = Array.from({ length: Math.max(ones.length, others.length) }, (_, index) => {
        const [one, other] = [ones[index], others[index]];
        // A part of the day that is still to come has no value.
        const isPast = one && start(one) <= seen.at;
        return {
            label: label(one ? start(one) : start(other)),
            short: shortLabel(one ? start(one) : start(other)),
            now: isPast ? one[figure] : null,
            before: other ? other[figure] : null,
        };
    });
    const isLong = end(sales) - start(sales) > 120 * DAY;
    const dates = { month: "short", day: "numeric", year: isLong ? "numeric" : undefined };
    const day = (window) => (id === "byHour" ? when(start(window), dates) : `${when(start(window), dates)} – ${when(end(window), dates)}`);
    const names = { now: day(sales), before: day(sales.previous) };
    card.querySelector("h2").textContent = title(words()[figure]);
    const value = (number) => (number === null ? "–" : show(figure, number));
    const mark = (kind, text) => element("span", { class: `mark ${kind}` }, text);
    const readout = (index) => {
        const row = rows[index];
        const text = row ? [`${row.label}: `, mark("now", value(row.now)), mark("then", value(row.before))] : [mark("now", names.now), mark("then", names.before)];
        card.querySelector(".readout").replaceChildren(...text);
    };
    plot(card.querySelector(".plot"), card.querySelector("h2").textContent, rows, readout);
    const heads = ["", [names.now, "number"], [names.before, "number"], [words().change, "number"]];
    const cells = rows.map((row) => [row.label, [value(row.now), "number"], [value(row.before), "number"], [row.now === null ? "" : change(row.now, row.before ?? 0)[0], "number"]]);
    card.querySelector(".scroll").replaceChildren(table(card.querySelector("h2").textContent, heads, cells));
}

function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// Draws bars with uPlot, and only their values if nothing else has changed.
function plot(place, title, rows, readout) {
    const { figure } = choices;
    const isPrint = Boolean(document.documentElement.dataset.print);
    const printWidth = at("byDay").hidden ? 660 : 312;
    const width = isPrint ? printWidth : place.clientWidth;
    if (width === 0) {
        return;
    }
    const labels = rows.map((row) => (width / rows.length > 62 ? row.label : row.short));
    const data = [rows.map((_, index) => index), rows.map((row) => row.before), rows.map((row) => row.now)];
    const shape = JSON.stringify([labels, width, figure, choices.language, colour("--accent")]);
    place.setAttribute("role", "img");
    place.setAttribute("aria-label", title);
    place.read = readout;
    if (place.shape === shape) {
        place.chart.setData(data);
        readout(place.chart.cursor.idx ?? null);
        return;
    }
    place.chart?.destroy();
    const font = `12px ${getComputedStyle(document.body).fontFamily}`;
    const most = Math.max(1, ...data[1], ...data[2]);
    const gap = Math.max(...labels.map((label) => label.length)) * 8 + 16;
    const step = Math.max(1, Math.ceil((rows.length * gap) / Math.max(1, width - 70)));
    const shown = data[0].filter((index) => index % step === 0);
    const axis = { font, stroke: colour("--soft"), ticks: { show: false } };
    const bars = (name, size, most) => ({
        fill: colour(name),
        stroke: colour(name),
        width: 0,
        points: { show: false },
        paths: uPlot.paths.bars({ size: [size, most], radius: [0.1, 0] }),
    });
    place.shape = shape;
    place.chart = new uPlot(
        {
            width,
            height: isPrint ? 170 : 220,
            padding: [8, 8, 0, 0],
            legend: { show: false },
            cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
            scales: {
                x: { time: false, range: [-0.5, rows.length - 0.5] },
                y: { range: (_, __, highest) => [0, Math.max(highest ?? 0, 1) * 1.05] },
            },
            axes: [
                { ...axis, size: 28, grid: { show: false }, splits: () => shown, values: () => shown.map((index) => labels[index]) },
                {
                    ...axis,
                    size: 20 + 7 * show(figure, most, true).length,
                    grid: { stroke: colour("--line"), width: 1 },
                    incrs: AMOUNTS.includes(figure) ? undefined : [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6],
                    values: (_, values) => values.map((value) => show(figure, value, true)),
                },
            ],
            series: [{}, bars("--then", 0.86, 64), bars("--accent", 0.5, 36)],
            hooks: { setCursor: [(chart) => place.read(chart.cursor.idx ?? null)] },
        },
        data,
        place,
    );
    readout(null);
}

function drawProducts({ items }) {
    const place = at("products").querySelector(".scroll");
    if (items.length === 0) {
        place.replaceChildren(element("p", { class: "empty" }, words().noProducts));
        return;
    }
    const most = Math.max(1, ...items.map((item) => item.share_basis_points));
    const rows = items.map((item) => [
        [count(item.rank), "number"],
        [moved(item), "move"],
        [named(item.name, item.share_basis_points / most), "name"],
        [count(item.units), "number"],
        [money(item.net), "number"],
        [percent(item.share_basis_points / 10_000), "number wide"],
    ]);
    const heads = [["#", "number"], [element("span", { class: "hidden" }, words().move), "move"], words().product, [words().rankUnits, "number"], [words().rankNet, "number"], [words().share, "number wide"]];
    place.replaceChildren(table(words().products, heads, rows));
}

// The move of a product since the window before.
function moved({ rank, rank_before: before }) {
    if (before === null) {
        return element("span", { class: "fresh" }, words().fresh);
    }
    const by = before - rank;
    const [sign, tone, text] = by > 0 ? ["▲", "good", words().up(by)] : by < 0 ? ["▼", "bad", words().down(-by)] : ["–", "even", words().same];
    return element("span", { class: tone, title: text }, element("span", { "aria-hidden": "true" }, by === 0 ? sign : `${sign}${Math.abs(by)}`), element("span", { class: "hidden" }, text));
}

// A name with a bar below it.
function named(name, part) {
    const bar = element("meter", { min: 0, max: 1, value: part, "aria-hidden": "true" });
    return element("span", { class: "named" }, element("span", {}, name), bar);
}

function drawStock({ items }) {
    const place = at("stock").querySelector(".scroll");
    const short = items.filter((item) => item.days_left !== null && item.days_left <= STOCK_DAYS).slice(0, 10);
    if (short.length === 0) {
        place.replaceChildren(element("p", { class: "empty" }, words().noStock));
        return;
    }
    const lasts = ({ stock, days_left: days }) => (stock === 0 ? words().soldOut : days < 1 ? words().noDay : words().days(count(days)));
    const tone = ({ days_left: days }) => (days < 3 ? "bad" : days < 8 ? "warn" : "even");
    const rows = short.map((item) => [[item.name, "name"], [count(item.stock), "number"], [count(item.sold), "number"], [element("span", { class: `pill ${tone(item)}` }, lasts(item)), "number"]]);
    place.replaceChildren(table(words().stock, [words().product, [words().inStock, "number"], [words().sold, "number"], [words().lasts, "number"]], rows));
}

function drawCoupons({ items }) {
    const place = at("coupons").querySelector(".scroll");
    if (items.length === 0) {
        place.replaceChildren(element("p", { class: "empty" }, words().noCoupons));
        return;
    }
    const rows = items.map((item) => [
        [named(item.name, item.issued / item.quantity), "name"],
        [`${count(item.issued)} / ${count(item.quantity)}`, "number"],
        [count(item.used), "number"],
        [count(item.given_back), "number wide"],
        [money(item.discounts), "number"],
        [money(item.net), "number wide"],
    ]);
    const heads = [words().campaign, [words().claimed, "number"], [words().used, "number"], [words().givenBack, "number wide"], [words().discounts, "number"], [words().net, "number wide"]];
    place.replaceChildren(table(words().coupons, heads, rows));
}

function list(place, pairs) {
    place.replaceChildren(element("dl", {}, ...pairs.flatMap(([name, value, kind]) => [element("dt", { class: kind ?? null }, name), element("dd", { class: kind ?? null }, value)])));
}

function drawBalances(sums) {
    list(at("balances").querySelector(".scroll"), [
        [words().outstanding, money(sums.outstanding), "main"],
        [words().customers, count(sums.customers)],
        [words().charged, money(sums.charged)],
        [words().spent, money(sums.spent)],
        [words().refunded, money(sums.refunded)],
        [words().debited, money(sums.debited)],
        // Rare: without them the other figures add up.
        ...(sums.returned === 0 ? [] : [[words().returned, money(sums.returned)]]),
        ...(sums.debts === 0 ? [] : [[words().debts, money(sums.debts)]]),
    ]);
}

function drawEvents({ waiting, failed: inVain, parked, oldest_at: oldest }) {
    const place = at("events").querySelector(".scroll");
    if (waiting + parked === 0) {
        place.replaceChildren(element("p", { class: "empty" }, words().allDelivered));
        return;
    }
    list(place, [
        [words().waiting, count(waiting), "main"],
        [words().failed, count(inVain)],
        [words().parked, count(parked), parked > 0 ? "bad" : null],
        [words().oldest, when(Date.parse(oldest), { dateStyle: "medium" })],
    ]);
}

// Choices.

function choose(changed, isAsked = true) {
    Object.assign(choices, changed);
    localStorage.setItem(CHOICES, JSON.stringify(choices));
    arrange();
    if (isAsked && token) {
        refresh(true);
    }
}

function chooseDays(days) {
    const today = localDate(now(), choices.zone || seen.shopZone || "UTC");
    const dates = days === "other" && !choices.first ? { first: today, last: today } : {};
    choose({ days, ...dates });
}

function chooseDates() {
    const [first, last] = [at("first").value, at("last").value];
    if (first && last) {
        choose(first <= last ? { first, last } : { first: last, last: first });
    }
}

async function download(name) {
    const asked = parameters(seen.sales.zone)[name];
    const blob = await (await send(target(name, asked, { format: "csv-bom" }))).blob();
    const url = URL.createObjectURL(blob);
    element("a", { href: url, download: `${name}.csv` }).click();
    URL.revokeObjectURL(url);
}

at("login").addEventListener("submit", logIn);
at("bearer").addEventListener("submit", (event) => {
    event.preventDefault();
    notice("");
    enter(at("token").value.trim());
});
at("leave").addEventListener("click", () => {
    send("/v1/sessions/current", { method: "DELETE" }).catch(() => {});
    leave("");
});
at("language").addEventListener("click", () => choose({ language: choices.language === "ko" ? "en" : "ko" }, false));
at("refresh").addEventListener("click", () => refresh(true));
for (const id of ["compare", "basis", "zone"]) {
    at(id).addEventListener("change", () => choose({ [id]: at(id).value }));
}
for (const id of ["first", "last"]) {
    at(id).addEventListener("change", chooseDates);
}
for (const button of document.querySelectorAll(".csv")) {
    button.addEventListener("click", () => download(button.dataset.report).catch(failed));
}
// A hidden page asks for nothing; it catches up when it is seen again.
document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (!document.hidden && token) {
        refresh();
    }
});
// Charts are pictures: they are drawn again for another width, for other colours and for paper.
const redraw = () => seen.sales && draw();
new ResizeObserver(redraw).observe(document.body);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
addEventListener("beforeprint", () => {
    document.documentElement.dataset.print = "yes";
    redraw();
});
addEventListener("afterprint", () => {
    delete document.documentElement.dataset.print;
    redraw();
});

arrange();
if (token) {
    refresh(true);
}
