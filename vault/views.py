"""The pages of connecting and of answering: parse, one call, answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import cast
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from providers import selectors as providers
from providers.models import Installation
from providers.spec import Access, ProviderSpec
from tenants import refusals
from tenants import selectors as tenants
from tenants.models import User
from tenants.services import Refused
from vault import account_pages, approve_pages, consent_pages, pages, selectors, watched
from vault.models import Approval, Connection, Consent
from vault.services import accounts, clients, connect, enter, question
from vault.services import revoke as revoking
from vault.services.connect import Opening, Stop, Stopped
from vault.services.question import K, State


@sensitive_post_parameters("key")
@login_required
@require_http_methods(["GET", "POST"])
def connect_page(request: HttpRequest, slug: str) -> HttpResponse:
    """Says who asks for what; the button starts the round trip. Without a link: a fresh one for this person."""
    user, now = _user(request), datetime.now(UTC)
    handle = request.GET.get("link", "")
    try:
        if not handle:
            return _fresh_link(request, slug, user=user, now=now)
        opening = connect.open_link(handle=handle, slug=slug, user=user, now=now)
        if isinstance(opening, connect.Arrival):
            return _connected(request, opening)
        if opening.link.installation.connect_url:
            return _elsewhere(request, opening.link.installation)
        if opening.spec.access is Access.KEY:
            return _key(request, opening, now=now)
        if request.method == "GET":
            sheet = pages.sheet(opening, asking=tenants.client_name(opening.link.client))
            shown = {"sheet": sheet, "watch": _watch(request, "link", opening.link.pk)}
            return _may_leave_for(render(request, "connect/connect.html", shown), sheet.leaves_for)
        departure = connect.start(opening=opening, session_key=_session(request), now=now)
    except Stopped as stopped:
        return _stopped(request, stopped, onward=request.get_full_path())
    response = HttpResponseRedirect(departure.url)
    response.set_cookie(
        settings.CONNECT_COOKIE_NAME,
        departure.browser,
        max_age=settings.CONNECT_LINK_S,
        secure=settings.HTTPS,
        httponly=True,
        samesite="Lax",
    )
    return response


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def go_page(request: HttpRequest) -> HttpResponse:
    """For who reads a link where they cannot open it: the code beside it, typed here, leads to the same page."""
    if request.method != "POST":
        return render(request, "connect/go.html")
    user, code = _user(request), request.POST.get("code", "")[:80]
    came_with = {"person": str(user.pk), "address": refusals.address(request)}
    counters = [refusals.counter(f"code-failures:{kind}", value) for kind, value in came_with.items()]
    problem, status = "That code is not right, or its time is over. Check it, or ask again in your client.", 422
    if any(refusals.many(counter, most=settings.LOGIN_FAILURES_PER_HOUR) for counter in counters):
        problem, status = "Too many attempts. Wait an hour, or open the link itself.", 429
    elif url := connect.typed(code=code, user=user, now=datetime.now(UTC)):
        return redirect(url)
    else:
        for counter in counters:
            refusals.count(counter)
    return render(request, "connect/go.html", {"problem": problem, "code": code}, status=status)


def _key(request: HttpRequest, opening: Opening, *, now: datetime) -> HttpResponse:
    """The same page where a key is entered: what is wrong with one is said there, and the key is never shown again.

    Raises: Stopped.
    """
    wrong, status = "", HTTPStatus.OK
    if request.method == "POST":
        try:
            arrival = enter.enter(opening=opening, text=request.POST.get("key", ""), now=now)
            return _connected(request, arrival)
        except enter.KeyRefused as refused:
            wrong, status = pages.key_refused(refused, opening.spec), HTTPStatus.UNPROCESSABLE_ENTITY
    sheet = pages.sheet(opening, asking=tenants.client_name(opening.link.client))
    shown = {"sheet": sheet, "wrong": wrong, "watch": _watch(request, "link", opening.link.pk)}
    return render(request, "connect/key.html", shown, status=status)


@require_GET
def client_document(_: HttpRequest, installation_id: UUID) -> HttpResponse:
    """By which an installation introduces itself to authorization servers (Client ID Metadata Documents).

    Raises: Http404 for one that does not.
    """
    document = clients.document(installation_id)
    if document is None:
        raise Http404
    return JsonResponse(document, headers={"Cache-Control": "public, max-age=3600"})


@require_GET
def callback(request: HttpRequest, installation_id: UUID) -> HttpResponse:
    """The provider's answer. A browser without the session that began it learns nothing."""
    if not request.user.is_authenticated:
        return _stopped(request, Stopped(Stop.WRONG_BROWSER))
    try:
        arrival = connect.finish(
            installation_id=installation_id,
            answer=_once(request, "state", "code", "error", "iss"),
            user=_user(request),
            session_key=_session(request),
            browser=request.COOKIES.get(settings.CONNECT_COOKIE_NAME, ""),
            now=datetime.now(UTC),
        )
    except Stopped as stopped:
        return _stopped(request, stopped)
    return _connected(request, arrival)


@login_required
@require_GET
def connections(request: HttpRequest) -> HttpResponse:
    """A person's accounts, those their tenants share, and what else they could connect."""
    user, now = _user(request), datetime.now(UTC)
    like = request.GET.get("like", "").strip()[:80]
    overview = account_pages.overview(user, like=like, after=request.GET.get("after", ""), now=now)
    watch = watched.said(watched.CONNECTIONS, user_id=user.pk, now=now)
    return render(request, "connections/list.html", {"overview": overview, "like": like, "watch": watch})


@login_required
@require_GET
def connection(request: HttpRequest, connection_id: UUID) -> HttpResponse:
    """One account, with everything about it."""
    entry = account_pages.account(_user(request), connection_id, now=datetime.now(UTC))
    if entry is None:
        raise Http404
    return render(request, "connections/one.html", {"entry": entry})


@login_required
@require_POST
def disconnect(request: HttpRequest, connection_id: UUID) -> HttpResponse:
    """End one of one's own connections, here and at the provider."""
    row = _managed(request, connection_id)
    done = revoking.disconnect(connection=row, by=_user(request).pk)
    (messages.success if done else messages.warning)(request, revoking.in_words(row))
    return redirect("connections")


@login_required
@require_POST
def rename(request: HttpRequest, connection_id: UUID) -> HttpResponse:
    """Give an account a name, or take it away."""
    row = _managed(request, connection_id)
    try:
        accounts.rename(connection=row, name=request.POST.get("name", ""), by=_user(request).pk)
    except Refused as refused:
        messages.error(request, str(refused))
    else:
        row.refresh_from_db()
        messages.success(request, f"Your clients know this {_title(row)} account as “{row.label}”.")
    return redirect("connections")


@login_required
@require_POST
def default(request: HttpRequest, connection_id: UUID) -> HttpResponse:
    """Use this account when a client names none, or stop doing so."""
    row, wanted = _managed(request, connection_id), request.POST.get("default") == "yes"
    try:
        accounts.make_default(connection=row, default=wanted, by=_user(request).pk)
    except Refused as refused:
        messages.error(request, str(refused))
    else:
        choice = f"uses “{row.label}”" if wanted else "asks which account to use"
        messages.success(request, f"{_title(row)} now {choice} when a client names none.")
    return redirect("connections")


def _managed(request: HttpRequest, connection_id: UUID) -> Connection:
    """Raises: Http404 for a connection that is not this person's to change, whether there is one or not."""
    row = selectors.managed_by(_user(request).pk).filter(pk=connection_id).first()
    if row is None:
        raise Http404
    return row


def _fresh_link(request: HttpRequest, slug: str, *, user: User, now: datetime) -> HttpResponse:
    """For any account, or for the one the address names. Raises: Stopped."""
    wanted, shared = request.GET.get("tenant"), request.GET.get("shared") == "1"
    members = [m for m in tenants.memberships_of(user) if wanted in {None, m.tenant.slug}]
    found = [row for m in members if (row := providers.installation(m.tenant_id, slug)) is not None]
    if len(found) != 1:
        raise Stopped(Stop.UNKNOWN)
    [installation] = found
    account = _account(request, installation, user)
    if installation.connect_url:
        return _elsewhere(request, installation)
    spec = providers.known_spec(installation)
    if spec is None:
        raise Stopped(Stop.UNKNOWN)
    if spec.access is Access.NONE:
        raise Stopped(Stop.NO_ACCOUNT, spec)
    scopes = accounts.scopes_to_ask(spec, account)
    if request.GET.get("needed") == "1":
        unneeded = providers.unneeded_scopes(spec, scopes)
        scopes = tuple(scope for scope in scopes if scope not in unneeded)
    if request.GET.get("more") == "1" and account is not None:
        scopes = tuple(sorted({*scopes, *accounts.further_scopes(spec, account.scopes)}))
    offered = connect.offer(
        tenant_id=installation.tenant_id,
        user_id=user.pk,
        installation_id=installation.pk,
        slug=slug,
        scopes=scopes,
        connection_id=account.pk if account else None,
        shared=shared,
        client="",
        now=now,
    )
    return redirect(offered.url)


def _account(request: HttpRequest, installation: Installation, user: User) -> Connection | None:
    """The account that is to be connected again. Raises: Stopped when it is not one this person sees there."""
    given = request.GET.get("account")
    if given is None:
        return None
    try:
        row = selectors.seen_by(user.pk).filter(pk=UUID(given), installation=installation).first()
    except ValueError:
        row = None
    if row is None:
        raise Stopped(Stop.UNKNOWN)
    return row


def _connected(request: HttpRequest, arrival: connect.Arrival) -> HttpResponse:
    return render(request, "connect/connected.html", {"landing": pages.landing(arrival)})


def _elsewhere(request: HttpRequest, installation: Installation) -> HttpResponse:
    """Connecting is another system's matter: say so, and show the way."""
    host = urlsplit(installation.connect_url).netloc
    shown = {"spec": providers.spec_of(installation), "url": installation.connect_url, "host": host}
    return render(request, "connect/elsewhere.html", shown)


def _once(request: HttpRequest, *names: str) -> dict[str, str]:
    """These parameters, if each is there once at most (RFC 6749 section 3.1); nothing otherwise."""
    given = {name: request.GET.getlist(name) for name in names if name in request.GET}
    return {name: values[0] for name, values in given.items()} if all(len(v) == 1 for v in given.values()) else {}


def _may_leave_for(page: HttpResponse, url: str) -> HttpResponse:
    """Let this page's form be redirected to the provider, and on from there to wherever people log in to it.

    Browsers hold every redirect to `form-action`; which hosts a company's single sign-on uses, we cannot know.
    """
    parts = urlsplit(url)
    page._csp_update = {"form-action": [f"{parts.scheme}://{parts.netloc}", "https:"]}  # type: ignore[attr-defined]  # noqa: SLF001 - what csp_update sets, per answer
    return page


def _stopped(request: HttpRequest, stopped: Stopped, *, onward: str = "") -> HttpResponse:
    """`onward` is where somebody else would be let in: an answer of a provider is for nobody but who began."""
    page = pages.page_of(stopped)
    shown = {"why": stopped.why.value, "spec": stopped.spec, "page": page, "onward": onward}
    if stopped.link:
        shown["watch"] = _watch(request, "link", stopped.link.pk)
    return render(request, "connect/stopped.html", shown, status=page.status)


def _watch(request: HttpRequest, kind: str, pk: UUID) -> str:
    """What a page says of itself, so that it turns as soon as there is something else to show."""
    return watched.said(f"{kind}:{pk}", user_id=_user(request).pk, now=datetime.now(UTC))


def _title(row: Connection) -> str:
    return providers.spec_of(row.installation).title


def _user(request: HttpRequest) -> User:
    return cast("User", request.user)


def _session(request: HttpRequest) -> str:
    return request.session.session_key or ""


@login_required
@require_http_methods(["GET", "POST"])
def consent_page(request: HttpRequest, consent_id: UUID) -> HttpResponse:
    """What a client wants to do in this person's name, and their answer; looking at it changes nothing."""
    sheet = partial(consent_pages.sheet, now=datetime.now(UTC))
    return _question(request, Consent, consent_id, "consent", sheet)


@login_required
@require_http_methods(["GET", "POST"])
def approve_page(request: HttpRequest, approval_id: UUID) -> HttpResponse:
    """The one call a client wants to make in this person's name, whole, and their answer."""
    return _question(request, Approval, approval_id, "approve", approve_pages.sheet)


def _question(
    request: HttpRequest, kind: type[K], question_id: UUID, folder: str, sheet: Callable[[K], object]
) -> HttpResponse:
    """Only what can be shown can be answered."""
    now = datetime.now(UTC)
    try:
        row = question.opened(kind, question_id, user=_user(request))
        state = question.state(row, now=now)
        if state not in {State.OPEN, State.DECLINED, State.GIVEN}:
            return _not_asked(request, state, providers.spec_of(row.connection.installation))
        shown = sheet(row)
    except question.Stopped as stopped:
        return _not_asked(request, stopped.why)
    if request.method == "GET":
        template = "given" if state is State.GIVEN else folder
        watch = _watch(request, watched.word(kind), row.pk)
        return render(request, f"{folder}/{template}.html", {"sheet": shown, "state": state.value, "watch": watch})
    match request.POST.get("answer"):
        case "allow":
            question.give(row, now=now)
        case "decline":
            question.decline(row, now=now)
    return redirect(folder, row.pk)


@login_required
@require_POST
def consent_withdraw(request: HttpRequest, consent_id: UUID) -> HttpResponse:
    """Take back one's own consent."""
    return _withdraw(request, Consent.objects.filter(pk=consent_id))


@login_required
@require_POST
def approve_withdraw(request: HttpRequest, approval_id: UUID) -> HttpResponse:
    """Take back one's own approval, while it is not used."""
    return _withdraw(request, Approval.objects.filter(pk=approval_id))


def _withdraw(request: HttpRequest, found: QuerySet[K]) -> HttpResponse:
    user = _user(request)
    row = found.filter(user_id=user.pk).first()
    if row is None:
        raise Http404
    if question.withdraw(row, by=user.pk, now=datetime.now(UTC)):
        messages.success(request, "Your permission is withdrawn. The client is asked for it when it needs it again.")
    return redirect("connections")


def _not_asked(request: HttpRequest, why: State | question.Stop, spec: ProviderSpec | None = None) -> HttpResponse:
    page = consent_pages.page_of(why, spec)
    shown = {"why": why.value, "spec": spec, "page": page, "onward": request.get_full_path()}
    return render(request, "connect/stopped.html", shown, status=page.status)
