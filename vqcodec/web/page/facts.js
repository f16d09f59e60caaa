// What the page says of a file: pairs of a name and a text.

export function describe(facts, name, result) {
  const bits = (8 * facts.bytes) / (facts.width * facts.height);
  const kind = facts.grey ? 'grey' : 'RGB';
  return [
    ['File', name],
    ['Size', `${facts.width} × ${facts.height}, ${kind}${facts.alpha ? ', alpha' : ''}`],
    ['Bytes', `${facts.bytes.toLocaleString('en')} (${bits.toFixed(3)} bits per pixel)`],
    ['Model', `${facts.model}, level ${facts.level}`],
    ...(facts.tiles > 1 ? [['Tiles', String(facts.tiles)]] : []),
    ...(facts.metadata.length ? [['Metadata', metadata(facts)]] : []),
    ...(result.seconds === undefined
      ? []
      : [['Decoded', `in ${result.seconds.toFixed(2)} s by ${result.device}`]]),
    ...(result.original ? [['Original', result.original]] : []),
  ];
}

function metadata(facts) {
  const names = facts.metadata.map(({name, bytes}) => `${name} (${bytes.toLocaleString('en')} bytes)`);
  const hasProfile = facts.metadata.some(({name}) => name === 'ICC profile');
  const shown = facts.colorSpace === 'display-p3' ? 'Display P3' : 'sRGB';
  return names.join(', ') + (hasProfile ? `; shown as ${shown}` : '');
}

export function fillList(list, pairs) {
  const items = pairs.map(([name, text]) => {
    const [group, term, value] = ['div', 'dt', 'dd'].map((tag) => document.createElement(tag));
    term.textContent = name;
    value.textContent = text;
    group.append(term, value);
    return group;
  });
  list.replaceChildren(...items);
}
