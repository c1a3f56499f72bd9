
// -- marks and ticks, of maps and of lines

// In units of the mark's radius; a star has ten corners, two turns of five.
const star = Array.from({ length: 10 }, (_, k) => [(k % 2 ? 0.52 : 1.3) * Math.sin((k * Math.PI) / 5), -(k % 2 ? 0.52 : 1.3) * Math.cos((k * Math.PI) / 5)]);
const plus = [[-0.4, -1.1], [0.4, -1.1], [0.4, -0.4], [1.1, -0.4], [1.1, 0.4], [0.4, 0.4], [0.4, 1.1], [-0.4, 1.1], [-0.4, 0.4], [-1.1, 0.4], [-1.1, -0.4], [-0.4, -0.4]];
const CORNERS = {
  s: [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]], D: [[0, -1.2], [1.2, 0], [0, 1.2], [-1.2, 0]],
  "^": [[0, -1.15], [1.1, 0.85], [-1.1, 0.85]], v: [[0, 1.15], [1.1, -0.85], [-1.1, -0.85]],
  P: plus, X: plus.map(([x, y]) => [(x - y) * Math.SQRT1_2, (x + y) * Math.SQRT1_2]), "*": star,
};

// 1, 2 or 5 times a power of ten: about five of them make the span.
function nice(span) {
  const rough = span / 5, power = 10 ** Math.floor(Math.log10(rough)), share = rough / power;
  return power * (share < 1.5 ? 1 : share < 3.5 ? 2 : share < 7.5 ? 5 : 10);
}

function mark(ctx, x, y, r, shape, face, edge, width) {
  ctx.beginPath();
  const corners = CORNERS[shape];
  if (shape === ".") r *= 0.5;
  if (corners) corners.forEach(([a, b], k) => (k ? ctx.lineTo(x + a * r, y + b * r) : ctx.moveTo(x + a * r, y + b * r)));
  else ctx.arc(x, y, r, 0, 2 * Math.PI);
  ctx.closePath();
  if (shape === "ring") { ctx.strokeStyle = face; ctx.lineWidth = 1.3; ctx.stroke(); return; }
  ctx.fillStyle = face; ctx.fill();
  if (width > 0) { ctx.strokeStyle = edge; ctx.lineWidth = width; ctx.lineJoin = "round"; ctx.stroke(); }
}
