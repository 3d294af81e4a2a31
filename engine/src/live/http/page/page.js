'use strict';
(() => {
  const SVG = 'http://www.w3.org/2000/svg';
  const at = (id) => document.getElementById(id);
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const COLOURS = { light: ['#1f5fbf', '#b3261e', '#176b3a', '#8a5300', '#6b3fa0', '#00707a'], dark: ['#7fb2ff', '#ff8a80', '#6fd39a', '#f0b55c', '#c7a6ff', '#6fd6df'] };
  const DASHES = [[], [6, 3], [2, 3], [9, 3, 2, 3], [1, 2], [12, 4]];
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const colours = () => COLOURS[dark.matches ? 'dark' : 'light'];
  const number = (value, digits = 3) => value === null || value === undefined || !isFinite(value) ? '–' : Number(value.toPrecision(digits)).toLocaleString('en');
  const put = (id, text) => { const e = at(id); if (e.textContent !== text) e.textContent = text; };
  const began = performance.now();
  const clock = () => (performance.now() - began) / 1000;

  let site = { classes: [], channels: [], deadline_us: null }, token = '', models = [];
  let chosen = null;
  const seen = new Map(); // series: { rows: [], answers: [] }
  const history = []; // one a second: { at, latency, signals }
  const SPAN = 120, ROWS = 400, SERIES = 64;

  // Charts are drawn at most four times a second, and only while they can be seen.
  const charts = {};
  const draw = (id, lines, data, y = {}, unit = '') => {
    const box = at(id), width = Math.max(200, box.clientWidth), key = JSON.stringify([lines, dark.matches]);
    let chart = charts[id];
    if (!chart || chart.key !== key) {
      if (chart) chart.plot.destroy();
      const ink = { stroke: style('--soft'), grid: { stroke: style('--grid'), width: 1 }, ticks: { stroke: style('--grid'), width: 1 }, font: '12px system-ui, sans-serif' };
      const options = {
        width, height: 190, legend: { show: false }, cursor: { show: false }, scales: { x: { time: false }, y },
        axes: [{ ...ink, size: 30, values: (_, all) => all.map((v) => `${number(v)} s`) }, { ...ink, size: 60, values: (_, all) => all.map((v) => v === null ? '' : number(v) + unit) }],
        series: [{}, ...lines.map((line, i) => ({ label: line.label, stroke: line.colour ? style(line.colour) : colours()[i % 6], dash: line.dash || [], width: 1.5, points: { show: false }, spanGaps: !!line.spans }))],
      };
      chart = charts[id] = { key, plot: new uPlot(options, data, box) };
    } else {
      if (chart.plot.width !== width) chart.plot.setSize({ width, height: 190 });
      chart.plot.setData(data);
    }
  };
  const legend = (id, items) => {
    const box = at(id), key = JSON.stringify([items, dark.matches]);
    if (box.dataset.key === key) return;
    box.dataset.key = key;
    box.replaceChildren(...items.map(({ label, colour, dash }, i) => {
      const li = document.createElement('li'), svg = document.createElementNS(SVG, 'svg'), line = document.createElementNS(SVG, 'line');
      svg.setAttribute('width', 22); svg.setAttribute('height', 8); svg.setAttribute('aria-hidden', 'true');
      for (const [name, value] of [['x1', 0], ['x2', 22], ['y1', 4], ['y2', 4], ['stroke-width', 2], ['stroke', colour ? style(colour) : colours()[i % 6]], ['stroke-dasharray', (dash || []).join(' ')]]) line.setAttribute(name, value);
      svg.append(line); li.append(svg, label);
      return li;
    }));
  };

  const of = (series) => {
    const key = series || '';
    if (!seen.has(key)) {
      if (seen.size >= SERIES) seen.delete(seen.keys().next().value);
      seen.set(key, { rows: [], answers: [] });
      const select = at('series');
      select.replaceChildren(...[...seen.keys()].map((name) => new Option(name || '(no name)', name)));
      if (chosen === null || !seen.has(chosen)) chosen = key;
      select.value = chosen;
    }
    return seen.get(key);
  };
  at('series').addEventListener('change', (e) => { chosen = e.target.value; saidAt = 0; said = ''; show(); });

  let said = '', saidAt = 0;
  const show = () => {
    const { rows, answers } = of(chosen), last = answers.at(-1);
    if (last) {
      // A window that was dropped is no answer to show in the place of one.
      const sure = last.status === 'dropped' ? answers.findLast((a) => a.status !== 'dropped') ?? last : last;
      put('class', sure.answer ?? '–');
      put('p', sure.p === null ? '' : `${(100 * sure.p).toFixed(0)} %`);
      at('meter').value = sure.p ?? 0;
      put('status', `${last.status}, ${number(last.age_us / 1000)} ms after the last row`);
      at('status').className = last.status === 'ok' ? 'good' : 'warn';
      // A screen reader hears a change, and not more often than every three seconds.
      const words = sure.answer ?? sure.status;
      if (words !== said && clock() - saidAt > 3) { said = words; saidAt = clock(); put('said', words); }
    }
    if (document.hidden) return;
    const now = clock();
    if (rows.length > 1) {
      const n = rows.at(-1).values.length, x = rows.map((row) => row.at - now);
      const lines = Array.from({ length: n }, (_, c) => ({ label: site.channels[c] || `channel ${c + 1}`, dash: DASHES[Math.floor(c / 6)] }));
      draw('chart-signal', lines, [x, ...lines.map((_, c) => rows.map((row) => row.values[c] ?? null))]);
      legend('legend-signal', lines);
    }
    if (answers.length > 1) {
      draw('chart-confidence', [{ label: 'probability' }], [answers.map((a) => a.at - now), answers.map((a) => a.p)], { range: [0, 1] });
    }
    if (history.length) {
      const x = history.map((h) => h.at - now), names = [...new Set(history.flatMap((h) => h.signals.map((s) => s.signal)))];
      const ratio = (h, name) => { const s = h.signals.find((s) => s.signal === name); return s && s.threshold > 0 ? s.statistic / s.threshold : null; };
      at('no-drift').hidden = names.length > 0;
      at('chart-drift').hidden = names.length === 0;
      if (names.length) {
        const lines = [...names.map((name, i) => ({ label: name, dash: DASHES[i % 6] })), { label: 'threshold', colour: '--text', dash: [4, 4] }];
        draw('chart-drift', lines, [x, ...names.map((name) => history.map((h) => ratio(h, name))), x.map(() => 1)], { range: (_, low, high) => [0, Math.max(1.2, high * 1.1)] });
        legend('legend-drift', lines);
      }
      const deadline = site.deadline_us === null ? null : site.deadline_us / 1000;
      const lines = [{ label: 'half are faster', spans: true }, { label: '99 of 100 are faster', dash: [6, 3], spans: true }];
      const data = [x, history.map((h) => h.p50), history.map((h) => h.p99)];
      if (deadline !== null) { lines.push({ label: `deadline ${number(deadline)} ms`, colour: '--text', dash: [4, 4] }); data.push(x.map(() => deadline)); }
      draw('chart-latency', lines, data, { distr: 3 }, ' ms');
      legend('legend-latency', lines);
    }
  };
  let waits = false;
  const soon = () => { if (!waits) { waits = true; setTimeout(() => { waits = false; show(); }, 250); } };
  dark.addEventListener('change', soon);
  addEventListener('resize', soon);

  const words = (event) => {
    const { event: kind, ...rest } = event;
    const short = (key, value) => key === 'model' ? String(value).slice(0, 8) : typeof value === 'number' ? number(value, 4) : typeof value === 'object' ? JSON.stringify(value) : value;
    return [kind, ...Object.entries(rest).map(([key, value]) => `${key} ${short(key, value)}`)].join(', ');
  };
  const heard = new Set();
  const level = (event) => event.event === 'drift' ? (event.level || event.kind || (event.signal?.startsWith('input') ? 'notice' : 'alarm'))
    : /refused|rollback|rolled-back/.test(`${event.event} ${event.result}`) ? 'alarm' : event.event === 'quality' ? 'notice' : '';
  const tell = ({ number: n, age_s, event }, isOld) => {
    if (!event || heard.has(n)) return;
    heard.add(n);
    const li = document.createElement('li'), time = document.createElement('time'), grade = level(event);
    time.textContent = new Date(Date.now() - 1000 * age_s).toLocaleTimeString('en-GB');
    li.append(time, words(event));
    li.className = grade === 'alarm' ? 'bad' : grade === 'notice' ? 'warn' : '';
    li.dataset.event = event.event;
    const list = at('events');
    list.prepend(li);
    while (list.children.length > 100) list.lastChild.remove();
    if (grade && (!isOld || age_s < 60)) {
      put('alarm', words(event));
      at('alarm').className = grade === 'alarm' ? '' : 'notice';
    }
  };

  const stats = (s) => {
    const sum = Object.entries(s.answers).filter(([, n]) => n).map(([status, n]) => `${n.toLocaleString('en')} ${status}`);
    put('answers', `${sum.join(', ') || 'none'} (${s.answers_s}/s)`);
    put('rows', `${s.rows.toLocaleString('en')} of ${s.series} series (${s.rows_s}/s)`);
    const figure = (name) => s.figures.find(([known]) => known === name)?.[2];
    const accuracy = figure('Accuracy'), guess = figure('AccuracyEstimate'), labels = s.figures.filter(([name]) => name === 'Labels').reduce((all, f) => all + f[2], 0);
    if (accuracy !== undefined) put('accuracy', `${(100 * accuracy).toFixed(1)} % of ${labels.toLocaleString('en')} labels`);
    else if (guess !== undefined) put('accuracy', `about ${(100 * guess).toFixed(1)} % if only inputs shift; no labels came back`);
    const ms = (us) => us === null ? null : us / 1000;
    history.push({ at: clock(), p50: ms(s.latency_us.p50), p99: ms(s.latency_us.p99), signals: s.signals });
    while (history.length > SPAN) history.shift();
    models = s.models;
    const key = JSON.stringify(models);
    if (at('models').dataset.key !== key) {
      at('models').dataset.key = key;
      at('models').replaceChildren(...[...models].reverse().map((model) => {
        const tr = document.createElement('tr'), code = document.createElement('code');
        code.textContent = model.hash.slice(0, 12);
        code.title = model.hash;
        for (const cell of [code, String(model.round), model.state, model.reason || '']) { const td = document.createElement('td'); td.append(cell); tr.append(td); }
        tr.children[2].className = { live: 'good', canary: 'warn', refused: 'bad', 'rolled-back': 'bad' }[model.state] || '';
        return tr;
      }));
    }
    buttons();
    soon();
  };
  const has = (...states) => models.some((model) => states.includes(model.state));
  const buttons = () => {
    const may = site.has_token && site.has_state;
    at('promote').disabled = !may || !has('seen', 'checked', 'shadow');
    at('rollback').disabled = !may || !has('previous');
    put('may', may ? '' : site.has_token ? 'The run keeps no models: start it with --state.' : 'Read only: start the run with --token-file to change models here.');
  };

  const ask = (title) => new Promise((done) => {
    put('ask-title', title);
    at('token').value = token;
    at('ask').addEventListener('close', () => done(at('ask').returnValue === 'yes'), { once: true });
    at('ask').returnValue = 'no';
    at('ask').showModal();
  });
  const change = async (path, title, done) => {
    if (!await ask(title)) return;
    token = at('token').value;
    const response = await fetch(path, { method: 'POST', headers: { authorization: `Bearer ${token}` } });
    const said = await response.json().catch(() => ({}));
    if (response.status === 401) token = '';
    at('done').className = response.ok ? 'good' : 'bad';
    put('done', response.ok ? done : `Not done: ${said.error || response.status}`);
  };
  at('promote').addEventListener('click', () => change('/promote', 'Make the candidate live?', 'The candidate becomes live.'));
  at('rollback').addEventListener('click', () => change('/rollback', 'Go back to the previous model? The live one will not be taken again.', 'The previous model becomes live.'));

  const hear = (kind, value) => {
    const now = clock();
    if (kind === 'hello') {
      site = value;
      heard.clear();
      at('events').replaceChildren();
      put('name', value.name);
      value.events.forEach((event) => tell(event, true));
    } else if (kind === 'rows') {
      value.forEach(([series, , values], i) => { const { rows } = of(series); rows.push({ at: now - 0.1 * (1 - (i + 1) / value.length), values }); if (rows.length > ROWS) rows.splice(0, rows.length - ROWS); });
      soon();
    } else if (kind === 'answers') {
      value.forEach((answer) => { const { answers } = of(answer.series); answers.push({ ...answer, at: now }); if (answers.length > 600) answers.splice(0, answers.length - 600); });
      soon();
    } else if (kind === 'event') tell(value, false);
    else if (kind === 'stats') stats(value);
  };
  const link = (text, good) => { put('link', text); at('link').className = good ? 'good' : 'bad'; };
  // Not by EventSource, which could not say the token.
  const listen = async () => {
    for (;;) {
      try {
        const response = await fetch('/events', { headers: token ? { authorization: `Bearer ${token}` } : {} });
        if (response.status === 401) {
          token = '';
          if (await ask('Whoever watches from another machine needs the token.')) { token = at('token').value; continue; }
        }
        if (!response.ok) throw new Error((await response.json().catch(() => ({}))).error || response.status);
        link('connected', true);
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
        let rest = '';
        for (;;) {
          const { done, value } = await reader.read();
          if (done) break;
          rest += value;
          const messages = rest.split('\n\n');
          rest = messages.pop();
          for (const message of messages) {
            const lines = message.split('\n'), part = (name) => lines.find((line) => line.startsWith(name))?.slice(name.length);
            hear(part('event: '), JSON.parse(part('data: ')));
          }
        }
        link('the run has ended, or cannot be reached; trying again', false);
      } catch (error) {
        link(`not connected: ${error.message}; trying again`, false);
      }
      await new Promise((done) => setTimeout(done, 1000));
    }
  };
  listen();
})();
