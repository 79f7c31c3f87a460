"""Where the console's pages are."""

from django.urls import path

from metaagent.console import exports, log, tools

urlpatterns = [
    path("console/<slug:tenant>/", exports.front, name="console"),
    path("console/<slug:tenant>/providers/", exports.exports, name="console_exports"),
    path("console/<slug:tenant>/audit/", log.timeline, name="console_audit"),
    path("console/<slug:tenant>/audit/<int:seq>/", log.event, name="console_event"),
    path("console/<slug:tenant>/audit/export.jsonl", log.export, {"kind": "jsonl"}, name="console_audit_jsonl"),
    path("console/<slug:tenant>/audit/export.csv", log.export, {"kind": "csv"}, name="console_audit_csv"),
    path("console/<slug:tenant>/providers/<slug:slug>/tools/", tools.tools, name="console_tools"),
    path("console/<slug:tenant>/providers/<slug:slug>/tools/review/", tools.review_page, name="console_review"),
]
