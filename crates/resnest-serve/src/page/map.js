// A class activation map in colours.

/// The longer side of a map on the canvas, in pixels.
const MAP_SIDE = 384;
/// The colour map turbo at even steps, so that the page's maps look as the command's do.
const TURBO = (
  "30123b 4040a1 466be3 4293ff 29bbec 18dcc3 31f299 6bfd64 a3fd3c "
  + "cced34 edd03a fdae35 fb8022 ec520f d23105 ac1701 7a0403"
).split(" ").map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));

/// A map as a picture: values between the centres of its cells are bilinear, beyond the outer ones they go on. The
/// alpha is a third where the value is 0 and whole where it is 1, as in `resnest classify --cam`; whole everywhere if
/// there is no photo to be seen through it.
export function colouredMap(cam, photo) {
  const longer = Math.max(cam.rows, cam.columns);
  const [width, height] = [cam.columns, cam.rows].map((cells) => Math.ceil((cells / longer) * MAP_SIDE));
  const columns = taps(cam.columns, width);
  const rows = taps(cam.rows, height);
  const picture = new ImageData(width, height);
  let at = 0;
  for (const [top, bottom, downwards] of rows) {
    for (const [left, right, along] of columns) {
      const line = (row) => mix(cam.values[row * cam.columns + left], cam.values[row * cam.columns + right], along);
      const value = mix(line(top), line(bottom), downwards);
      picture.data.set([...turbo(value), photo ? (255 * (1 + 2 * value)) / 3 : 255], at);
      at += 4;
    }
  }
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  canvas.getContext("2d").putImageData(picture, 0, 0);
  return canvas;
}

const mix = (from, to, share) => from + (to - from) * share;

/// For each of `pixels` spread over `cells`: the two cells its centre lies between and how far along.
function taps(cells, pixels) {
  return Array.from({ length: pixels }, (_, pixel) => {
    const place = Math.min(Math.max(((pixel + 0.5) / pixels) * cells - 0.5, 0), cells - 1);
    const first = Math.floor(place);
    return [first, Math.min(first + 1, cells - 1), place - first];
  });
}

function turbo(value) {
  const place = Math.min(Math.max(value, 0), 1) * (TURBO.length - 1);
  const first = Math.min(Math.floor(place), TURBO.length - 2);
  return TURBO[first].map((from, channel) => mix(from, TURBO[first + 1][channel], place - first));
}
