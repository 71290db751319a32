// Keeps an open page up to date. Everything can be read without it.
'use strict';

function distance(date) {
    const seconds = Math.round((date - Date.now()) / 1000);
    const length = Math.abs(seconds);
    const [count, unit] = length < 60 ? [length, 's']
        : length < 3600 ? [Math.floor(length / 60), 'min']
        : length < 172800 ? [Math.floor(length / 3600), 'h']
        : [Math.floor(length / 86400), 'days'];
    if (length < 5) return 'now';
    return seconds > 0 ? `in ${count} ${unit}` : `${count} ${unit} ago`;
}

function refreshTimes() {
    for (const time of document.querySelectorAll('time[datetime]')) {
        time.textContent = distance(new Date(time.dateTime));
    }
}

function followMirrors(table) {
    const events = new EventSource('/api/v1/events');
    events.addEventListener('news', (event) => {
        const news = JSON.parse(event.data);
        document.getElementById('summary').textContent = news.summary;
        for (const row of news.rows) {
            let line = table.querySelector(`tr[data-job="${CSS.escape(row.name)}"]`);
            if (!line) {
                line = document.createElement('tr');
                line.dataset.job = row.name;
                const after = [...table.rows].find((other) => other.dataset.job > row.name);
                table.insertBefore(line, after || null);
            }
            line.innerHTML = row.html;
        }
        for (const name of news.gone) {
            table.querySelector(`tr[data-job="${CSS.escape(name)}"]`)?.remove();
        }
        refreshTimes();
    });
}

async function refreshPage() {
    const answer = await fetch(location.href);
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    document.querySelector('main').replaceWith(page.querySelector('main'));
    refreshTimes();
}

async function followLog(log) {
    const answer = await fetch(log.dataset.follow);
    if (!answer.ok) return;
    const isAtEnd = window.innerHeight + window.scrollY >= document.body.scrollHeight - 40;
    log.textContent = await answer.text();
    if (isAtEnd) window.scrollTo(0, document.body.scrollHeight);
}

const mirrors = document.getElementById('mirrors');
const log = document.querySelector('[data-follow]');
if (mirrors) followMirrors(mirrors);
if (log) setInterval(() => followLog(log), 2000);
if (document.querySelector('.facts')) {
    // While it runs often, else now and then.
    let rounds = 0;
    setInterval(() => {
        rounds += 1;
        if (document.querySelector('[data-live]') || rounds % 15 === 0) refreshPage();
    }, 2000);
}
setInterval(refreshTimes, 15000);
