"""The made-up world in words: people, organizations, projects, and how their software fails."""

from __future__ import annotations

from dataclasses import dataclass

PASSWORD = "sandbox"  # noqa: S105 - shown on the log-in page; nothing real is behind it


@dataclass(frozen=True, slots=True)
class Language:
    """How errors look in one programming language. `{noun}`, `{field}`, `{verb}` and `{n}` stand for words."""

    sdk: str
    culprit: str
    file: str
    line: str
    """The line of code that fails."""
    library: tuple[tuple[str, str], ...]
    """Frames outside the project: file, function; outermost first."""
    faults: tuple[tuple[str, str, str], ...]
    """Exception type, its text, level."""


PYTHON = Language(
    sdk="sentry.python",
    culprit="{noun}s.{field} in {verb}_{noun}",
    file="{noun}s/{field}.py",
    line="    return {verb}({noun}.{field}, {noun}.owner)",
    library=(("django/core/handlers/base.py", "_get_response"), ("django/views/generic/base.py", "dispatch")),
    faults=(
        ("AttributeError", "'NoneType' object has no attribute '{field}'", "error"),
        ("KeyError", "'{noun}_{field}'", "error"),
        ("TypeError", "unsupported operand type(s) for +: 'NoneType' and 'Decimal' ({noun}.{field})", "error"),
        ("ValueError", "invalid {field} for {noun}: ''", "warning"),
        ("OperationalError", "deadlock detected while updating {noun}s.{field}", "fatal"),
        ("IntegrityError", 'duplicate key value violates unique constraint "{noun}s_{field}_key"', "error"),
        ("ReadTimeout", "{noun}s.internal:443 did not answer within {n} s while reading {field}", "error"),
        ("ConnectionError", "redis:6379 closed the connection while reading {noun}:{field}", "warning"),
        ("SoftTimeLimitExceeded", "tasks.{verb}_{noun}s ran longer than {n}0 s", "warning"),
        ("ValidationError", "{noun}.{field}: this value may not be null", "info"),
    ),
)
JAVASCRIPT = Language(
    sdk="sentry.javascript.browser",
    culprit="{verb}{Noun}(app/{noun}/{field})",
    file="app/{noun}/{field}.tsx",
    line="  return {verb}{Noun}({noun}.{field}.map(toRow));",
    library=(("react-dom/client.js", "performWorkUntilDeadline"), ("react-dom/client.js", "renderWithHooks")),
    faults=(
        ("TypeError", "Cannot read properties of undefined (reading '{field}') in {noun}", "error"),
        ("TypeError", "{noun}.{field} is not a function", "error"),
        ("ReferenceError", "{noun}{Field} is not defined", "error"),
        ("ChunkLoadError", "Loading chunk {n}7 failed ({noun}-{field}.js)", "warning"),
        ("AbortError", "The request to /api/{noun}s/{field} was aborted", "info"),
        ("RangeError", "Maximum call stack size exceeded in {verb}{Noun}{Field}", "fatal"),
        ("SyntaxError", "Unexpected token '<' in the JSON of /api/{noun}s/{field}", "error"),
        ("QuotaExceededError", "Could not store {noun}.{field}: the quota has been exceeded", "warning"),
        ("HTTPError", "POST /api/{noun}s/{field} failed with 502", "error"),
        ("HydrationError", "The server's {noun} {field} did not match the client's", "warning"),
    ),
)
GO = Language(
    sdk="sentry.go",
    culprit="{noun}.{verb}{Field}",
    file="internal/{noun}/{field}.go",
    line="\treturn {noun}.{Field}[0], err",
    library=(("net/http/server.go", "conn.serve"), ("net/http/server.go", "HandlerFunc.ServeHTTP")),
    faults=(
        ("context.deadlineExceededError", "context deadline exceeded: {verb} {noun} {field}", "error"),
        ("*net.OpError", "dial tcp 10.2.0.1{n}:5432: connection refused ({noun} {field} store)", "fatal"),
        ("runtime.boundsError", "index out of range [{n}] with length 0 in {noun}.{Field}", "error"),
        ("runtime.errorString", "nil pointer dereference in {noun}.{verb}{Field}", "fatal"),
        ("*pq.Error", "deadlock detected on {noun}s.{field}", "error"),
        ("*json.SyntaxError", "invalid character '<' in {noun} {field}", "warning"),
        ("*status.Error", "{noun}-service is unavailable: transport is closing ({field})", "error"),
        ("*errors.errorString", "{noun} {field} is stale by {n} versions", "info"),
    ),
)
JAVA = Language(
    sdk="sentry.java",
    culprit="com.example.{noun}.{Noun}Service in {verb}{Field}",
    file="com/example/{noun}/{Noun}Service.java",
    line="        return {verb}({noun}.get{Field}());",
    library=(("java/lang/Thread.java", "run"), ("jakarta/servlet/http/HttpServlet.java", "service")),
    faults=(
        ("NullPointerException", 'Cannot invoke "{Noun}.get{Field}()" because "{noun}" is null', "error"),
        ("SQLTransientConnectionException", "No connection for {noun}.{field} within {n}000 ms", "fatal"),
        ("OptimisticLockException", "{Noun}.{field} was updated by another transaction", "warning"),
        ("IllegalStateException", "{Noun} has no {field} after {verb}", "error"),
        ("HttpServerErrorException", "502 Bad Gateway from /{noun}s/{field}", "error"),
        ("CannotAcquireLockException", "deadlock while locking {noun}s for {field}", "error"),
        ("JsonParseException", "Unexpected end of input in {noun}.{field}", "warning"),
        ("SocketTimeoutException", "{noun}s {field} did not answer within {n} s", "error"),
    ),
)

CHECKOUT = (
    "order cart payment refund invoice coupon basket customer",
    "total currency discount tax status address receipt quantity",
)
SHOP = (
    "product gallery menu basket review banner profile wishlist",
    "price image title stock rating label variant link",
)
SEARCH = (
    "query index facet shard synonym ranking suggestion cursor",
    "score terms filter locale weight page offset batch",
)
FREIGHT = (
    "shipment parcel route depot driver vehicle manifest scan",
    "weight location window barcode status eta carrier zone",
)
BANK = (
    "account transfer card loan statement mandate deposit payee",
    "balance limit iban currency rate status owner reference",
)
VERBS = ("load", "save", "update", "apply", "sync", "render", "validate", "resolve", "fetch", "merge")

# organization -> (name, its projects: slug, name, platform, language, nouns and fields)
ORGANIZATIONS: dict[str, tuple[str, tuple[tuple[str, str, str, Language, tuple[str, str]], ...]]] = {
    "acme": (
        "Acme Commerce",
        (
            ("checkout-api", "Checkout API", "python-django", PYTHON, CHECKOUT),
            ("storefront", "Storefront", "javascript-react", JAVASCRIPT, SHOP),
            ("mobile-app", "Mobile App", "react-native", JAVASCRIPT, CHECKOUT),
            ("search", "Search", "go", GO, SEARCH),
        ),
    ),
    "globex": (
        "Globex Logistics",
        (
            ("tracking-api", "Tracking API", "go-http", GO, FREIGHT),
            ("dispatch-web", "Dispatch Web", "javascript-vue", JAVASCRIPT, FREIGHT),
            ("route-planner", "Route Planner", "python", PYTHON, FREIGHT),
        ),
    ),
    "initech": (
        "Initech Bank",
        (
            ("ledger", "Ledger", "java-spring-boot", JAVA, BANK),
            ("online-banking", "Online Banking", "javascript-angular", JAVASCRIPT, BANK),
            ("risk-engine", "Risk Engine", "python-fastapi", PYTHON, BANK),
        ),
    ),
}

# name, e-mail, organizations
PEOPLE = (
    ("Ada Byrne", "ada@example.com", ("acme",)),
    ("Bruno Costa", "bruno@example.com", ("acme", "globex")),
    ("Chioma Eze", "chioma@example.com", ("acme", "globex", "initech")),
)

COMMITS = (
    "Show the reason when a request is refused",
    "Cache lookups for five minutes",
    "Move background work to the new queue",
    "Upgrade dependencies",
    "Retry idempotent calls once",
    "Speed up the nightly import",
    "Fix rounding in totals",
    "Log slow queries",
    "Drop the old export format",
)

# The release that went wrong: why, and the issues it brought
# (type, text, level, culprit, file, the line that fails; and the share of its errors).
BAD_COMMIT = "Capture payments concurrently and skip the currency check (#1841)"
BAD_ISSUES = (
    (
        "DeadlockDetected",
        "deadlock detected: capture_payment waits for a row lock on payment_intents",
        "fatal",
        "payments.capture in capture_payment",
        "payments/capture.py",
        "    intent = PaymentIntent.objects.select_for_update().get(pk=intent_id)",
        0.52,
    ),
    (
        "TimeoutError",
        "payment gateway did not answer within 3.0 s (12 captures in flight)",
        "error",
        "payments.gateway in authorize",
        "payments/gateway.py",
        "    return pool.submit(self.client.capture, intent).result(timeout=3.0)",
        0.27,
    ),
    (
        "KeyError",
        "'currency_code'",
        "error",
        "orders.pricing in apply_discount",
        "orders/pricing.py",
        '    rate = RATES[basket["currency_code"]]',
        0.16,
    ),
    (
        "TypeError",
        "unsupported operand type(s) for *: 'NoneType' and 'Decimal'",
        "error",
        "orders.tax in order_total",
        "orders/tax.py",
        "    return net + rate * order.net",
        0.05,
    ),
)
