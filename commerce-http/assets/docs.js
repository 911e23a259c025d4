// The page /docs. Swagger UI shows the calls; this script sets the idempotency key and the token of calls.
"use strict";

const KEY = "Idempotency-Key";
const calls = document.getElementById("calls");
const caller = document.getElementById("caller");

fetch("/openapi.json")
    .then((response) => response.json())
    .then(draw)
    .catch((error) => {
        calls.textContent = `/openapi.json cannot be shown: ${error.message}`;
        throw error;
    });

function draw(spec) {
    const keyed = callsWithKey(spec);
    const ui = SwaggerUIBundle({
        spec,
        domNode: calls,
        deepLinking: true,
        defaultModelsExpandDepth: 0,
        displayRequestDuration: true,
        persistAuthorization: false,
        tryItOutEnabled: true,
        validatorUrl: null, // The validator is on another host.
        requestInterceptor(request) {
            const path = pathOf(request);
            const needsKey = keyed.some((call) => call.method === request.method && call.path.test(path));
            if (needsKey && !request.headers[KEY]) {
                request.headers[KEY] = freshKey();
            }
            return request;
        },
        responseInterceptor(response) {
            const path = pathOf(response);
            if (path === "/v1/sessions" && response.status === 201) {
                const session = JSON.parse(response.text);
                ui.preauthorizeApiKey("bearer", session.token);
                caller.textContent = `Customer ${session.customer_id} is logged in: calls carry the token.`;
            }
            if (path === "/v1/sessions/current" && response.status === 204) {
                ui.authActions.logout(["bearer"]);
                caller.textContent = "Logged out: calls carry no token.";
            }
            return response;
        },
    });
    // Swagger UI opens the call in the URL fragment when the page loads, but not when a link is followed.
    addEventListener("hashchange", () => ui.layoutActions.parseDeepLinkHash(location.hash));
}

// The calls with an idempotency key. Swagger UI does not send a call while a required field is empty, so the shared
// key parameters become optional.
function callsWithKey(spec) {
    const keys = Object.entries(spec.components.parameters).filter(([, shared]) => shared.name === KEY);
    for (const [, key] of keys) {
        key.required = false;
        key.description += " If empty, this page sends a new one with each call.";
    }
    const references = keys.map(([name]) => `#/components/parameters/${name}`);
    const keyed = [];
    for (const [path, operations] of Object.entries(spec.paths)) {
        for (const [method, { parameters = [] }] of Object.entries(operations)) {
            if (parameters.some((parameter) => references.includes(parameter.$ref))) {
                const pattern = path.replaceAll(/\{\w+\}/g, "[^/]+");
                keyed.push({ method: method.toUpperCase(), path: new RegExp(`^${pattern}$`) });
            }
        }
    }
    return keyed;
}

function pathOf({ url }) {
    return new URL(url, location.href).pathname;
}

// 128 random bits. crypto.randomUUID is not available over plain HTTP from another machine.
function freshKey() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
