
// -- a canvas context that writes SVG: as much of it as the views use

const SVG = "http://www.w3.org/2000/svg";  // a name, which nothing asks for

class SvgContext {
  constructor(width, height) {
    Object.assign(this, { width, height, out: [], defs: [], stack: [], path: "", matrix: [1, 0, 0, 1, 0, 0], clipped: "", dash: [] });
    Object.assign(this, { fillStyle: "#000000", strokeStyle: "#000000", lineWidth: 1, lineJoin: "miter", globalAlpha: 1, font: "12px sans-serif", textAlign: "left", textBaseline: "alphabetic" });
    this.ruler = document.createElement("canvas").getContext("2d");
  }
  static KEPT = ["matrix", "clipped", "dash", "fillStyle", "strokeStyle", "lineWidth", "lineJoin", "globalAlpha", "font", "textAlign", "textBaseline"];
  save() { this.stack.push(SvgContext.KEPT.map((name) => this[name])); }
  restore() { const held = this.stack.pop(); SvgContext.KEPT.forEach((name, k) => { this[name] = held[k]; }); }
  translate(x, y) { const [a, b, c, d, e, f] = this.matrix; this.matrix = [a, b, c, d, e + a * x + c * y, f + b * x + d * y]; }
  rotate(angle) { const [a, b, c, d, e, f] = this.matrix, u = Math.cos(angle), v = Math.sin(angle); this.matrix = [a * u + c * v, b * u + d * v, c * u - a * v, d * u - b * v, e, f]; }
  at(x, y) { const [a, b, c, d, e, f] = this.matrix; return `${this.n(a * x + c * y + e)} ${this.n(b * x + d * y + f)}`; }
  n(value) { return String(Math.round(value * 100) / 100); }
  q(text) { return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;"); }
  beginPath() { this.path = ""; }
  moveTo(x, y) { this.path += `M${this.at(x, y)}`; }
  lineTo(x, y) { this.path += `${this.path ? "L" : "M"}${this.at(x, y)}`; }
  closePath() { if (this.path) this.path += "Z"; }
  rect(x, y, w, h) { this.path += this.box(x, y, w, h); }
  box(x, y, w, h) { return `M${this.at(x, y)}L${this.at(x + w, y)}L${this.at(x + w, y + h)}L${this.at(x, y + h)}Z`; }
  arc(x, y, r) { this.path += `M${this.at(x - r, y)}A${this.n(r)} ${this.n(r)} 0 1 0 ${this.at(x + r, y)}A${this.n(r)} ${this.n(r)} 0 1 0 ${this.at(x - r, y)}`; }  // whole circles
  put(content, more) {
    const opacity = this.globalAlpha < 1 ? ` opacity="${this.n(this.globalAlpha)}"` : "", clip = this.clipped ? ` clip-path="url(#${this.clipped})"` : "";
    this.out.push(`<${content}${more}${opacity}${clip}/>`);
  }
  fill(path = this.path) { this.put(`path d="${path}"`, ` fill="${this.q(this.fillStyle)}"`); }
  stroke(path = this.path) {
    const dash = this.dash.length ? ` stroke-dasharray="${this.dash.join(" ")}"` : "";
    this.put(`path d="${path}"`, ` fill="none" stroke="${this.q(this.strokeStyle)}" stroke-width="${this.lineWidth}" stroke-linejoin="${this.lineJoin}"${dash}`);
  }
  fillRect(x, y, w, h) { this.put(`path d="${this.box(x, y, w, h)}"`, ` fill="${this.q(this.fillStyle)}" shape-rendering="crispEdges"`); }
  strokeRect(x, y, w, h) { this.stroke(this.box(x, y, w, h)); }
  setLineDash(dash) { this.dash = dash; }
  clip() {
    const name = `clip${this.defs.length}`;
    this.defs.push(`<clipPath id="${name}"${this.clipped ? ` clip-path="url(#${this.clipped})"` : ""}><path d="${this.path}"/></clipPath>`);
    this.clipped = name;
  }
  measureText(text) { this.ruler.font = this.font; return this.ruler.measureText(text); }
  write(text, x, y, paint) {
    const [, bold, size] = this.font.match(/^(\d+ )?([\d.]+)px/) || [null, "", "12"];
    const anchor = { center: "middle", right: "end" }[this.textAlign] || "start", down = { middle: 0.35, top: 0.8 }[this.textBaseline] || 0;
    const opacity = this.globalAlpha < 1 ? ` opacity="${this.n(this.globalAlpha)}"` : "";
    this.out.push(`<text transform="matrix(${this.matrix.map((v) => this.n(v)).join(" ")})" x="${this.n(x)}" y="${this.n(y + down * size)}" font-family="DejaVu Sans, Arial, sans-serif" font-size="${size}"${bold ? ' font-weight="600"' : ""} text-anchor="${anchor}" ${paint}${opacity}>${this.q(text)}</text>`);
  }
  fillText(text, x, y) { this.write(text, x, y, `fill="${this.q(this.fillStyle)}"`); }
  strokeText(text, x, y) { this.write(text, x, y, `fill="none" stroke="${this.q(this.strokeStyle)}" stroke-width="${this.lineWidth}" stroke-linejoin="round"`); }
  text() {
    return `<svg xmlns="${SVG}" width="${this.width}" height="${this.height}" viewBox="0 0 ${this.width} ${this.height}"><defs>${this.defs.join("")}</defs>${this.out.join("\n")}</svg>\n`;
  }
}
