// What a photo's bytes say that the server does not heed: which way up it was taken.

/// The bytes of a JPEG or PNG without their EXIF block; any others as they are (Chromium and Firefox turn no WebP).
export function withoutExif(buffer) {
  const view = new DataView(buffer);
  const text = (at, length) => String.fromCharCode(...new Uint8Array(buffer, at, length));
  let found = [0, 0];
  try {
    if (view.getUint16(0) === 0xffd8) found = exifInJpeg(view, text);
    else if (text(1, 3) === "PNG") found = exifInPng(view, text);
  } catch { /* RangeError: the file ends early. The decoder will say what it makes of it. */ }
  const [start, end] = found;
  return new Blob([buffer.slice(0, start), buffer.slice(end)]);
}

/// Segments are FF, a marker and a length that counts itself; the pixels begin after DA.
function exifInJpeg(view, text) {
  for (let start = 2; view.getUint8(start) === 0xff && view.getUint8(start + 1) !== 0xda;) {
    const end = start + 2 + view.getUint16(start + 2);
    if (view.getUint8(start + 1) === 0xe1 && text(start + 4, 4) === "Exif") return [start, end];
    start = end;
  }
  return [0, 0];
}

/// Chunks are a length, a name, so many bytes and a checksum.
function exifInPng(view, text) {
  for (let start = 8; start < view.byteLength;) {
    const end = start + 12 + view.getUint32(start);
    if (text(start + 4, 4) === "eXIf") return [start, end];
    start = end;
  }
  return [0, 0];
}
