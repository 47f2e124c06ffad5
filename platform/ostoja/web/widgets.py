"""Form controls: the relation picker, money, dates, choices; and how a field is drawn with label, help and errors."""

from __future__ import annotations

from django import forms
from django.template.loader import get_template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _


class RelationPicker(forms.Widget):
    """A record of another kind, found by typing; ``url`` answers with options, ``label_of(value)`` names the chosen one."""

    def __init__(self, url: str = "", label_of=None, placeholder: str = "", create_url: str = "", attrs=None):
        super().__init__(attrs)
        self.url, self.label_of, self.placeholder, self.create_url = url, label_of, placeholder, create_url

    def render(self, name, value, attrs=None, renderer=None) -> SafeString:
        attrs = {**self.attrs, **(attrs or {})}
        attrs.pop("class", None)
        label = self.label_of(value) if value and self.label_of else ""
        return mark_safe(
            get_template("ostoja/parts/picker.html").render(
                {
                    "name": name,
                    "value": value or "",
                    "label": label,
                    "widget": self,
                    "id": attrs.pop("id", f"id_{name}"),
                    "attrs": attrs,
                    "required": attrs.pop("required", False),
                }
            )
        )


class MoneyInput(forms.TextInput):
    """An amount, right-aligned, with its currency behind it; accepts ``1 234,50`` as people type it."""

    def __init__(self, currency: str = "", attrs=None):
        super().__init__({"inputmode": "decimal", "autocomplete": "off", **(attrs or {})})
        self.currency = currency

    def render(self, name, value, attrs=None, renderer=None) -> SafeString:
        control = super().render(name, value, attrs, renderer)
        if not self.currency:
            return control
        return format_html('<div class="joined">{}<span class="addon">{}</span></div>', control, self.currency)

    def value_from_datadict(self, data, files, name):
        value = super().value_from_datadict(data, files, name)
        return plain_number(value) if isinstance(value, str) else value


def plain_number(text: str) -> str:
    """``1 234,50`` and ``1,234.50`` as ``1234.50``: what both languages write, and no guess beyond that."""
    text = text.strip().replace("\u00a0", "").replace("\u202f", "").replace(" ", "")
    if "," in text and "." in text:
        thousands = "," if text.rfind(".") > text.rfind(",") else "."
        text = text.replace(thousands, "")
    elif text.count(",") > 1 or text.count(".") > 1:
        return text.replace(",", "").replace(".", "")
    return text.replace(",", ".")


class DateInput(forms.DateInput):
    """The browser's own date control; always ISO on the wire."""

    input_type = "date"

    def __init__(self, attrs=None):
        super().__init__(attrs, format="%Y-%m-%d")


class DateTimeInput(forms.DateTimeInput):
    """The browser's own date and time control, in the reader's time zone."""

    input_type = "datetime-local"

    def __init__(self, attrs=None):
        super().__init__(attrs, format="%Y-%m-%dT%H:%M")


class Switch(forms.CheckboxInput):
    """A yes or no that takes effect like a switch."""


_PLAIN = (forms.widgets.Input, forms.Textarea, forms.Select)


def control_of(bound, **more) -> SafeString:
    """The control of a bound field alone, classed and tied to its help and errors."""
    widget = bound.field.widget
    attrs: dict[str, object] = dict(more)
    described = []
    if bound.help_text:
        described.append(f"{bound.auto_id}_help")
    if bound.errors:
        attrs["aria-invalid"] = "true"
        described.append(f"{bound.auto_id}_errors")
    if described:
        attrs["aria-describedby"] = " ".join(described)
    css = [str(widget.attrs.get("class", "")), str(attrs.pop("class", ""))]
    if isinstance(widget, Switch):
        css.append("switch")
        attrs["role"] = "switch"
    elif isinstance(widget, forms.CheckboxInput):
        css.append("cb")
    elif isinstance(widget, _PLAIN):
        css.append("input")
        if isinstance(widget, forms.Textarea):
            attrs.setdefault("rows", 3)
    attrs["class"] = " ".join(part for part in css if part)
    return bound.as_widget(attrs=attrs)


def errors_of(bound) -> SafeString:
    """The errors of a bound field, or nothing."""
    if not bound.errors:
        return mark_safe("")
    sentences = format_html_join(" ", "{}", ((error,) for error in bound.errors))
    return format_html('<div class="errors" id="{}_errors" role="alert">{}</div>', bound.auto_id, sentences)


def render_field(bound, css: str = "", **attrs) -> SafeString:
    """Label, control, help and errors of a bound field."""
    if bound.is_hidden:
        return format_html("{}{}", bound.as_widget(), errors_of(bound))
    widget = bound.field.widget
    wide = "full" if isinstance(widget, forms.Textarea) else ""
    help_text = (
        format_html('<div class="help" id="{}_help">{}</div>', bound.auto_id, bound.help_text)
        if bound.help_text
        else ""
    )
    if isinstance(widget, forms.CheckboxInput):
        return format_html(
            '<div class="form-field {} {}"><label class="check-line">{}<span>{}</span></label>{}{}</div>',
            css,
            wide,
            control_of(bound, **attrs),
            bound.label,
            help_text,
            errors_of(bound),
        )
    if isinstance(widget, forms.CheckboxSelectMultiple):
        widget.attrs.setdefault("class", "cb")
        boxes = format_html_join(
            "",
            '<label class="check-line py-0.5">{}<span>{}</span></label>',
            ((one.tag(), one.choice_label) for one in bound),
        )
        return format_html(
            '<fieldset class="form-field {}"><legend class="mb-1 text-xs font-medium">{}</legend>{}{}{}</fieldset>',
            css, bound.label, boxes or _("There is nothing to choose from yet."), help_text, errors_of(bound),
        )  # fmt: skip
    star = (
        format_html('<span class="required" aria-hidden="true" title="{}">*</span>', _("Needed"))
        if bound.field.required
        else ""
    )
    return format_html(
        '<div class="form-field {} {}"><label for="{}">{}{}</label>{}{}{}</div>',
        css,
        wide,
        bound.id_for_label,
        bound.label,
        star,
        control_of(bound, **attrs),
        help_text,
        errors_of(bound),
    )
