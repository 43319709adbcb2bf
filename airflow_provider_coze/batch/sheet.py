"""How a report looks: light and dark, on a wide screen, on a phone, on paper. One style sheet, and nothing else."""

from __future__ import annotations

__all__ = ["STYLE"]

_LIGHT = (
    "--page:#fff;--ink:#1b1f24;--soft:#57606a;--rule:#d5dae0;--card:#f4f6f8;"
    "--ok:#2f7cc4;--failed:#c2410c;--flight:#7c6bb8;--in:#26837a;--out:#b07d12"
)
_DARK = (
    "--page:#14171b;--ink:#e7eaee;--soft:#a3acb7;--rule:#373e47;--card:#1e2329;"
    "--ok:#5aa6ea;--failed:#ff8f61;--flight:#a798e4;--in:#4bb5a9;--out:#dcae48"
)

STYLE = f"""
:root{{color-scheme:light dark;{_LIGHT}}}
@media (prefers-color-scheme:dark){{:root{{{_DARK}}}}}
*{{box-sizing:border-box}}
body{{margin:0 auto;padding:2rem 1.25rem 3rem;max-width:68rem;background:var(--page);color:var(--ink);
font:1rem/1.5 system-ui,"Segoe UI","PingFang SC","Microsoft YaHei","Noto Sans CJK SC",sans-serif;
font-variant-numeric:tabular-nums;overflow-wrap:anywhere}}
h1{{margin:0;font-size:1.6rem;line-height:1.25}}
h2{{margin:0 0 .25rem;font-size:1.15rem}}
h3{{margin:1.25rem 0 .25rem;font-size:1rem}}
p{{margin:.25rem 0 .75rem;max-width:46rem}}
.soft{{color:var(--soft)}}
.tiles{{display:grid;grid-template-columns:repeat(auto-fit,minmax(8rem,1fr));gap:.5rem;margin:1.25rem 0 0}}
.tiles div{{background:var(--card);border-radius:.5rem;padding:.6rem .75rem}}
.tiles dt{{color:var(--soft);font-size:.85rem}}
.tiles dd{{margin:0;font-size:1.2rem;font-weight:600;line-height:1.35;white-space:nowrap}}
.tiles dd small{{display:block;font-size:.8rem;font-weight:400;line-height:1.3;white-space:normal;color:var(--soft)}}
section{{margin-top:2.25rem;padding-top:1.25rem;border-top:1px solid var(--rule)}}
.pair{{display:grid;grid-template-columns:minmax(0,8fr) minmax(0,5fr);gap:1rem 2rem;align-items:start}}
figure{{margin:0}}
figcaption{{display:flex;flex-wrap:wrap;gap:.15rem 1.1rem;font-size:.85rem;color:var(--soft)}}
figcaption svg{{width:1.2rem;height:.7rem;margin-right:.4rem}}
svg{{display:block;width:100%;height:auto}}
figcaption span{{display:inline-flex;align-items:center}}
svg text{{font-size:14px;fill:var(--soft)}}
svg .strong{{fill:var(--ink);font-weight:600;paint-order:stroke;stroke:var(--page);stroke-width:4px;stroke-linejoin:round}}
.grid,.tick{{stroke:var(--rule);stroke-width:1}}
.line{{fill:none;stroke-width:2;stroke-linejoin:round}}
.mark{{stroke:var(--ink);stroke-width:1.5}}
.fill.ok{{fill:var(--ok)}}.fill.failed{{fill:var(--failed)}}.fill.flight{{fill:var(--flight)}}
.fill.in{{fill:var(--in)}}.fill.out{{fill:var(--out)}}
.line.budget{{stroke:var(--ink);stroke-width:2.5;stroke-dasharray:7 4}}
table{{width:100%;border-collapse:collapse;font-size:.875rem}}
caption{{text-align:left;color:var(--soft);padding-bottom:.2rem}}
th,td{{padding:.25rem .6rem .25rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--rule)}}
th{{font-weight:600}}
.number{{text-align:right;white-space:nowrap}}
.word{{white-space:nowrap}}
td.code{{min-width:6.25rem}}
.bar{{width:40%;vertical-align:middle;padding-right:0}}
.bar svg{{height:.75rem}}
.facts{{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:.2rem 1.25rem;margin:.5rem 0 0;font-size:.9rem}}
.facts dt{{color:var(--soft)}}
.facts dd{{margin:0}}
@media (max-width:44rem){{
body{{padding:1.25rem 1rem 2rem}}
.pair{{grid-template-columns:minmax(0,1fr)}}
.tiles{{grid-template-columns:1fr 1fr;gap:.5rem}}
.facts{{grid-template-columns:1fr;gap:0}}
.facts dd{{margin-bottom:.5rem}}
}}
@media (max-width:34rem){{svg text{{font-size:21px}}}}
@media print{{
:root{{color-scheme:light;{_LIGHT}}}
body{{max-width:none;padding:0;font-size:10pt}}
section{{margin-top:1rem;padding-top:.75rem}}
th,td{{padding:.1rem .5rem .1rem 0}}
table{{font-size:8.5pt}}
section,.tiles div{{break-inside:avoid}}
.fill,.tiles div{{print-color-adjust:exact}}
}}
"""
